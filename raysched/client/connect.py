"""From nothing to a client: find the Ray cluster and its scheduler, or start them here."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from raysched.client import Client
from raysched.errors import Conflict, NotRunning


def default_home() -> Path:
    """Return the home that is meant when none is named: `$RAYSCHED_HOME`, or `~/raysched`."""
    return Path(os.environ.get("RAYSCHED_HOME") or Path.home() / "raysched").absolute()


def connect(
    home: str | Path | None = None,
    *,
    address: str | None = None,
    start: bool = True,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    state_url: str | None = None,
    seal_every_s: float | None = None,
) -> Client:
    """Return a client of the running scheduler; with `start`, of a new one if none runs.

    Which Ray: the one that this process is connected to already, else `address` or
    `$RAY_ADDRESS`, else the one that was started for this home, else a new one on this
    machine, which outlives this process. `home` is of use only where something is started.

    Raises:
        NotRunning: nothing runs, and `start` is false.
        Conflict: the scheduler that runs there has another home than the one named.
        ClusterError: Ray or the scheduler does not come up.
    """
    # Imported in a notebook, Ray advises on extensions of Jupyter.
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    from raysched.cluster.handle import SEAL_EVERY_S, SchedulerHandle

    place = default_home() if home is None else Path(home).absolute()
    _join_ray(place, address, start=start, num_cpus=num_cpus, num_gpus=num_gpus)
    try:
        client = Client(SchedulerHandle.find())
    except NotRunning:
        if not start:
            raise
    else:
        if home is not None and client.home != place:
            raise Conflict(
                f"the scheduler of this Ray cluster keeps its home at {client.home}, not {place}.",
                why="a cluster has one scheduler, and a scheduler has one home.",
                fix="leave home out, or ray.shutdown() first to leave that cluster.",
            )
        return client
    return Client(
        SchedulerHandle.start(
            str(place),
            state_url=state_url,
            seal_every_s=SEAL_EVERY_S if seal_every_s is None else seal_every_s,
        )
    )


def _join_ray(
    home: Path, address: str | None, *, start: bool, num_cpus: int | None, num_gpus: int | None
) -> None:
    import ray

    from raysched.cluster import local

    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        own = local.find(home)
        if own is None and not start:
            raise NotRunning(
                f"no Ray is running for {home}.",
                why="neither RAY_ADDRESS nor a record in the home names one.",
                fix="run `raysched up`.",
            )
        own = own or local.start(home, num_cpus=num_cpus, num_gpus=num_gpus)
        local.authenticate(own)
        address = own.address
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    _silence()


def _silence() -> None:
    """Keep Ray from printing remarks on dying workers: a cancelled run's is meant to die."""
    from ray._private.worker import global_worker

    # Its listener prints them whatever `log_to_driver` and the logging level are.
    with suppress(Exception):
        global_worker.threads_stopped.set()
        global_worker.gcs_error_subscriber.close()
