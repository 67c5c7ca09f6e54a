"""Container runs against the same calls made straight to Docker's API, in turn with them."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from raysched.bench.image import IMAGE, provided
from raysched.bench.report import Figure, processor_seconds, where
from raysched.client import Client
from raysched.core.states import State
from raysched.spec.container_job import ContainerJob, container

SAMPLES = 20
AT_ONCE = 4
MANY = 40
ROUNDS = 8
TARGET = 1.1
SAME = 0.95  # rates of so few containers vary by more than the last twentieth


def measure(client: Client) -> list[Figure]:
    """Run no-op containers both ways, one by one and four at once, and return the ratios.

    Raises:
        EngineUnavailable: no Docker engine answers here.
        ImageUnavailable: there is nothing to make the image of.
    """
    import ray

    with provided() as engine, tempfile.TemporaryDirectory() as rooms:
        box = _box(ray.cluster_resources()["CPU"] / AT_ONCE)
        client.deploy(box)
        bare = _bare(engine, box, Path(rooms))
        _runs(client, box)  # every worker loads the Docker client once
        _bares(bare)
        before = processor_seconds()
        pairs = _in_turn(
            lambda: _seconds(lambda: _run(client, box)), lambda: _seconds(bare), SAMPLES
        )
        after = processor_seconds()
        many = _in_turn(
            lambda: _rate(lambda: _runs(client, box)), lambda: _rate(lambda: _bares(bare)), ROUNDS
        )
    ours, theirs = ([pair[n] for pair in pairs] for n in (0, 1))
    run_s, bare_s = statistics.median(ours), statistics.median(theirs)
    # Of all rounds together: whoever follows the other is slowed, and they take turns at that.
    same = sum(1 / other for _, other in many) / sum(1 / one for one, _ in many)
    return [
        Figure(
            name="one by one, against the bare calls",
            value=f"{run_s / bare_s:.2f}",
            target=f"at most {TARGET}",
            met=run_s / bare_s <= TARGET,
        ),
        Figure(
            name="one by one, median of a run and of the bare calls",
            value=f"{run_s * 1e3:.0f} ms, {bare_s * 1e3:.0f} ms",
        ),
        Figure(
            name=f"{AT_ONCE} at once, rate against that of the bare calls",
            value=f"{same:.2f} ({', '.join(f'{a:.1f}/s to {b:.1f}/s' for a, b in many)})",
            target=f"at least {SAME}",
            met=same >= SAME,
        ),
        Figure(name="processor ms a run, bare calls included", value=where(before, after, SAMPLES)),
    ]


def _box(num_cpus: float) -> ContainerJob:
    """Return a job whose lease alone keeps to so many runs at once."""
    return container(
        "bench-box",
        image=IMAGE,
        command=["/bin/busybox", "true"],
        num_cpus=num_cpus,
        memory="64MiB",
        overlap="allow",
    )


def _bare(engine: Any, box: ContainerJob, rooms: Path) -> Callable[[], None]:
    """Return what makes, starts, awaits, reads and removes just the container that a run makes."""
    from raysched.runners.container import Task, options

    spec = box.spec
    assert spec.container is not None
    task = Task(
        home="",
        key="bench",
        run_id="bench",
        attempt=1,
        job=spec.name,
        slot=None,
        params={},
        env={},
        container=spec.container,
        context=b"",
        code_hash="",
        num_cpus=spec.resources.num_cpus,
        memory_bytes=spec.resources.memory_bytes,
        gpu_ids=(),
        timeout_s=None,
        log_limit_bytes=1 << 20,
    )
    out = rooms / "out"
    out.mkdir()
    host = options.host_options(task, cpus=engine.info()["NCPU"], out=out, secrets=None, mounts=())
    own = options.create_options(task, IMAGE, rooms)
    own["labels"] = {}

    def once() -> None:
        made = engine.create_container(
            **own, name=f"bench-{uuid.uuid4().hex}", host_config=engine.create_host_config(**host)
        )
        engine.start(made)
        engine.wait(made)
        engine.logs(made)
        engine.remove_container(made)

    return once


def _in_turn(
    ours: Callable[[], float], theirs: Callable[[], float], times: int
) -> list[tuple[float, float]]:
    """Return pairs of what was measured; who goes first changes, as what follows is slowed."""
    pairs = []
    for n in range(times):
        if n % 2:
            other, one = theirs(), ours()
        else:
            one, other = ours(), theirs()
        pairs.append((one, other))
    return pairs


def _run(client: Client, box: ContainerJob) -> None:
    assert client.trigger(box).wait("60s").status == State.SUCCEEDED


def _runs(client: Client, box: ContainerJob) -> None:
    for run in client.trigger_many(box, [{}] * MANY):
        run.wait("60s")


def _bares(bare: Callable[[], None]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(bare) for _ in range(MANY)]:
            done.result()


def _rate(work: Callable[[], None]) -> float:
    return MANY / _seconds(work)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
