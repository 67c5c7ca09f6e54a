"""`raysched bench`: what raysched costs, as ratios against bare Ray in the same run.

Absolute times of one machine say little on another, and little on the same one an
hour later; where Ray, pandas or Docker alone does the same work, a figure stands beside
theirs, measured in turn with it. The others are held against the size of their task.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

from raysched.bench import container, history, lag, latency, restart, throughput, timetable
from raysched.bench.report import Figure, environment, render
from raysched.client import Client
from raysched.errors import ContainerError, InputError

BENCHMARKS: dict[str, Callable[[Client], list[Figure]]] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "lag": lag.measure,
    "container": container.measure,
    "history": history.measure,
    "timetable": timetable.measure,
    "restart": restart.measure,  # the last: it leaves a scheduler with much to do
}


def main(names: Sequence[str] = (), *, say: Callable[[str], None] = print) -> bool:
    """Run benchmarks on a Ray and a home of their own; return whether all targets are met.

    Raises:
        InputError: there is no benchmark of one of the names.
        ContainerError: one that was named needs a Docker engine or an image, and has none.
    """
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise InputError(
            f"there is no benchmark {unknown[0]!r}.",
            why=f"there are {', '.join(BENCHMARKS)}.",
            fix="name some of them, or none for all.",
        )
    import ray

    from raysched.client.connect import connect
    from raysched.cluster import local

    met = True
    say(environment())
    with tempfile.TemporaryDirectory(prefix="raysched-bench-") as home:
        try:
            # By a process that goes, as `raysched up` does: Ray treats what it leaves behind
            # in another way than the work of a driver that stays.
            founder = get_context("spawn").Process(target=connect, args=(home,))
            founder.start()
            founder.join()
            client = connect(home)
            for name in [each for each in BENCHMARKS if each in (names or BENCHMARKS)]:
                try:
                    figures = BENCHMARKS[name](client)
                except ContainerError as error:
                    if names:
                        raise
                    say(f"\n{name}: left out; {error.what} {error.why}")
                    continue
                say(render(name, figures))
                met = met and all(figure.met is not False for figure in figures)
        finally:
            ray.shutdown()
            local.stop(Path(home))
    return met
