"""Commands about the scheduler itself: up, down, status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import Home, Output, connected, home_of
from raysched.cli.output import Format, say, say_next, show_facts
from raysched.errors import ClusterError, Conflict, NotRunning, RayschedError

if TYPE_CHECKING:
    from raysched.client import Client


def up(
    home: Home = None,
    num_cpus: Annotated[
        int | None, typer.Option(min=0, help="CPUs that jobs may take; all, if left out.")
    ] = None,
    num_gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs that jobs may take; all, if left out.")
    ] = None,
) -> None:
    """Start Ray and the scheduler here.

    Harmless if they run already. With RAY_ADDRESS set, the scheduler is started on that
    cluster instead.
    """
    from raysched.client.connect import connect

    place = home_of(home)
    try:
        client, started = connect(place, start=False), False
    except NotRunning:
        say(f"starting Ray and the scheduler for {place} ...", "dim")
        client, started = connect(place, num_cpus=num_cpus, num_gpus=num_gpus), True
    if started:
        say(f"the scheduler is up: epoch {client.status()['epoch']}, home {client.home}")
    else:
        say(f"the scheduler is up already: home {client.home}; nothing was changed.")
        if num_cpus is not None or num_gpus is not None:
            say("its CPUs and GPUs stay as they are: `raysched down` first to change them.")
    say_next("deploy", "jobs/") if started else say_next("status")


def down(
    home: Home = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also while runs are under way; they become lost.")
    ] = False,
) -> None:
    """Seal the history and stop what `up` started.

    That is the scheduler and the Ray of this home. Where nothing runs there is nothing to
    do, and that is a success. A Ray that RAY_ADDRESS names is left running, and so are its
    runs; only the scheduler is stopped.
    """
    from raysched.cluster import local

    place = home_of(home)
    own = local.find(place) is not None and not os.environ.get("RAY_ADDRESS")
    if not own and not os.environ.get("RAY_ADDRESS"):
        say(f"nothing is running for {place}.")
        return
    try:
        client: Client | None = connected(home)
    except ClusterError as error:
        say(f"the scheduler does not answer ({error.what}) What is not sealed stays in the state")
        say("database, and is sealed when it is up again.")
        client = None
    if client is not None:
        _refuse_while_busy(client, own and not force)
        _seal(client)
    if own:
        disconnect()
        local.stop(place)
        say(f"stopped the scheduler and Ray; the history stays in {place}.")
    elif client is not None:
        from raysched.cluster.handle import SchedulerHandle

        SchedulerHandle.find().stop()
        say("stopped the scheduler; Ray and the runs under way go on.")
    say_next("runs")


def _refuse_while_busy(client: Client, refuse: bool) -> None:
    running = client.status()["runs"].get("running", 0)
    if running and refuse:
        raise Conflict(
            f"{running} run(s) are under way.",
            why="stopping Ray ends them; the next `raysched up` finds them lost and retries "
            "those whose policy says so.",
            fix="wait, cancel them, or use --force.",
        )


def _seal(client: Client) -> None:
    try:
        files = client.seal()
    except RayschedError as error:
        say(f"the history was not sealed: {error.what} It is when the scheduler is up again.")
        return
    say(f"sealed the history: {len(files)} new file(s).")


def disconnect() -> None:
    """Leave a Ray that is about to be stopped, or threads here complain that it is gone."""
    import ray

    ray.shutdown()


def status(home: Home = None, output: Output = Format.TABLE) -> None:
    """Say whether the scheduler runs; exit 1 if not."""
    try:
        facts = _facts(connected(home))
    except ClusterError as error:
        place = home_of(home)
        show_facts({"state": "not running", "home": str(place), "reason": error.what}, output)
        say_next("up")
        raise typer.Exit(1) from None
    show_facts(facts, output)


def _facts(client: Client) -> dict[str, Any]:
    found = client.status()
    runs: dict[str, int] = found["runs"]
    return {
        "state": "running",
        "home": found["home"],
        "state_url": _without_password(found["state_url"]),
        "epoch": found["epoch"],
        "jobs": found["jobs"],
        "paused": found["paused"],
        "unfinished_runs": {name: runs[name] for name in sorted(runs)} or 0,
        "next_wake": found["next_wake"],
        "launcher": found["launcher"] or "none attached",
        "ray_address": _ray_address(client.home),
        "node": found["node_id"],
        "pid": found["pid"],
        "dashboard": "none",
    }


def _without_password(url: str | None) -> str | None:
    if url is None:
        return None
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://***@{tail}" if at else url


def _ray_address(home: Path) -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)
