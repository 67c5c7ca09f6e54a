"""From nothing to a client: find the Ray cluster and its scheduler, or start them here."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from raysched.client import Client
from raysched.errors import Conflict, NotRunning

if TYPE_CHECKING:
    from raysched.cluster.finding import FoundRay
    from raysched.cluster.handle import SchedulerHandle


def default_home() -> Path:
    """Return the home that is meant when none is named: `$RAYSCHED_HOME`, or `~/raysched`."""
    return Path(os.environ.get("RAYSCHED_HOME") or Path.home() / "raysched").absolute()


def find_ray(home: str | Path | None = None, address: str | None = None) -> FoundRay | None:
    """Return the Ray that `connect` would use, if there is one; nothing is started."""
    from raysched.cluster import finding

    named = home is not None or bool(os.environ.get("RAYSCHED_HOME"))
    place = default_home() if home is None else Path(home).absolute()
    return finding.find(place, named=named, address=address)


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

    Which Ray, the first of these that there is:

    1. the one that this process is connected to already;
    2. the one at `address`, or at `$RAY_ADDRESS`;
    3. the one that was started for this home on this machine;
    4. the cluster that this machine is a node of, head or worker, if raysched is or was on
       it: Ray keeps its address on each node. If a home is named, by `home` or
       `$RAYSCHED_HOME`, this one counts only if it is that cluster's home;
    5. a new one on this machine, which outlives this process.

    What is said goes before what is found. A cluster's token is the one in
    `~/.ray/auth_token`, or that of Ray's own variables.

    `home` and `state_url` are of use only where a scheduler is started; left out on a cluster
    that had one, they are those of that one.

    Raises:
        NotRunning: nothing runs, and `start` is false.
        Conflict: the scheduler that runs there has another home than the one named, or the
            home's state is in a database, and none is named.
        ClusterError: Ray or the scheduler does not come up.
    """
    # Imported in a notebook, Ray advises on extensions of Jupyter.
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    from raysched.cluster.handle import SchedulerHandle

    _join_ray(home, address, start=start, num_cpus=num_cpus, num_gpus=num_gpus, state_url=state_url)
    try:
        client = Client(SchedulerHandle.find())
    except NotRunning:
        if not start:
            raise
    else:
        if home is not None and client.home != Path(home).absolute():
            raise Conflict(
                f"the scheduler of this Ray cluster keeps its home at {client.home}, "
                f"not {Path(home).absolute()}.",
                why="a cluster has one scheduler, and a scheduler has one home.",
                fix="leave home out, or ray.shutdown() first to leave that cluster.",
            )
        return client
    return Client(_start_scheduler(home, state_url, seal_every_s))


def _start_scheduler(
    home: str | Path | None, state_url: str | None, seal_every_s: float | None
) -> SchedulerHandle:
    """Start a scheduler; on a cluster that had one, with its home and its state if none is named.

    It would be wrong to guess them: a second home would decide the same slots again.
    """
    import ray

    from raysched.cluster import mark
    from raysched.cluster.handle import SEAL_EVERY_S, SchedulerHandle

    named = home is not None or bool(os.environ.get("RAYSCHED_HOME"))
    place = str(default_home() if home is None else Path(home).absolute())
    last = mark.read(ray.get_runtime_context().gcs_address)
    if last is not None and (not named or last.home == place):
        place, state_url = last.home, state_url or last.state_url
    return SchedulerHandle.start(
        place,
        state_url=state_url,
        seal_every_s=SEAL_EVERY_S if seal_every_s is None else seal_every_s,
    )


def _join_ray(
    home: str | Path | None,
    address: str | None,
    *,
    start: bool,
    num_cpus: int | None,
    num_gpus: int | None,
    state_url: str | None,
) -> None:
    import ray

    from raysched.cluster import finding, local
    from raysched.store import whereabouts

    if ray.is_initialized():
        return
    found = find_ray(home, address)
    if found is None:
        place = default_home() if home is None else Path(home).absolute()
        if not start:
            raise NotRunning(
                f"no Ray is running for {place}.",
                why="neither RAY_ADDRESS nor a record in the home names one, and no cluster "
                "with raysched on it has this machine as a node.",
                fix="run `raysched up`.",
            )
        whereabouts.check_named(place, state_url)  # a refusal is to leave no Ray behind
        own = local.start(place, num_cpus=num_cpus, num_gpus=num_gpus)
        found = finding.FoundRay(address=own.address, own=own)
    found.authenticate()
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    _silence()


def _silence() -> None:
    """Keep Ray from printing remarks on dying workers: a cancelled run's is meant to die."""
    from ray._private.worker import global_worker

    # Its listener prints them whatever `log_to_driver` and the logging level are.
    with suppress(Exception):
        global_worker.threads_stopped.set()
        global_worker.gcs_error_subscriber.close()
