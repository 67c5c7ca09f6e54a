"""Commands about the scheduler itself: up, down, status."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import Home, Output, connected, home_of, is_running
from raysched.cli.output import Format, say, say_next, show_facts
from raysched.cluster.patience import hurried, hurry
from raysched.errors import ClusterError, Conflict, InvalidParameter, NotRunning, RayschedError
from raysched.store.whereabouts import without_password

if TYPE_CHECKING:
    from raysched.client import Client
    from raysched.cluster.mark import Mark

_ANSWER_S = 5.0
"""How long what looks at the scheduler, or ends it, waits for its answer."""

File = Annotated[
    Path | None,
    typer.Argument(metavar="CLUSTER.YAML", help="A cluster file of `ray up`; here, if left out."),
]


def up(
    file: File = None,
    *,
    home: Home = None,
    num_cpus: Annotated[
        int | None, typer.Option(min=0, help="CPUs that jobs may take; all, if left out.")
    ] = None,
    num_gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs that jobs may take; all, if left out.")
    ] = None,
    state_url: Annotated[
        str | None,
        typer.Option(
            envvar="RAYSCHED_STATE_URL",
            help="A PostgreSQL database for the state; a file in the home, if left out.",
        ),
    ] = None,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew", help="Replace a scheduler that has other code than is installed, or hangs."
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Restart the Ray of the cluster file; what runs is lost."),
    ] = False,
) -> None:
    """Start Ray and the scheduler here, or on a file's cluster.

    Harmless if they run already. Here: on a node of a cluster, and with RAY_ADDRESS set, the
    scheduler is started on that cluster instead. With a file: `ray up --no-restart`, so that
    running work goes on, and then the scheduler on its head.
    """
    if file is not None:
        from raysched.cli import launch

        _refuse_beside_file(home=home, num_cpus=num_cpus, num_gpus=num_gpus, state_url=state_url)
        launch.up(file, restart=restart)
        return
    if restart:
        raise InvalidParameter(
            "--restart needs a cluster file.", fix="here, use `raysched down` and `raysched up`."
        )
    _up_here(home, num_cpus=num_cpus, num_gpus=num_gpus, state_url=state_url, renew=renew)


def _up_here(
    home: Path | None,
    *,
    num_cpus: int | None,
    num_gpus: int | None,
    state_url: str | None,
    renew: bool,
) -> None:
    from raysched.client.connect import connect
    from raysched.cluster.handle import PATIENCE_S

    named = None if home is None else home_of(home)
    # Signs of life do not count here: a process may live whose engine is stuck.
    limit = hurry(hurried() or PATIENCE_S) if renew else nullcontext()
    try:
        with limit:
            client = connect(named, start=False)
            replace = renew and _is_outdated(client)
    except NotRunning:
        say(f"starting the scheduler for {home_of(home)}, and Ray if there is none ...", "dim")
        client = connect(named, num_cpus=num_cpus, num_gpus=num_gpus, state_url=state_url)
        say(f"the scheduler is up: epoch {client.status()['epoch']}, home {client.home}")
        say_next("deploy", "jobs/")
        return
    except ClusterError as error:
        if not renew:
            raise
        say(f"{error.what} It is replaced ...", "dim")
        replace = True
    if replace:
        client = _renewed(named)
        say(f"the scheduler runs the code that is installed: epoch {client.status()['epoch']},")
        say(f"home {client.home}; the runs under way go on.")
    else:
        say(f"the scheduler is up already: home {client.home}; nothing was changed.")
        if num_cpus is not None or num_gpus is not None:
            say("its CPUs and GPUs stay as they are: `raysched down` first to change them.")
    say_next("status")


def _refuse_beside_file(**options: object) -> None:
    set_for_here = [name for name in options if os.environ.get(f"RAYSCHED_{name.upper()}")]
    given = [name for name, value in options.items() if value is not None]
    given = [name for name in given if name not in set_for_here]
    if given:
        raise InvalidParameter(
            f"--{given[0].replace('_', '-')} does not go with a cluster file.",
            why="there the file says what the nodes run.",
            fix="write it into the file, beside `raysched up` in head_start_ray_commands.",
        )


def _is_outdated(client: Client) -> bool:
    from raysched.cluster.installed import code_hash

    return bool(client.status().get("code") != code_hash())


def _renewed(named: Path | None) -> Client:
    """Replace the scheduler by one of a new process, which loads the code that is installed.

    A restart of the actor would not do: Ray may give it a worker that has the old code loaded.
    If this process dies in between, no scheduler runs, nothing is lost, and the next
    `raysched up` starts one on the home that the cluster remembers.

    Raises:
        Conflict: it has another home than the one named.
        ClusterError: the cluster remembers no home.
    """
    from raysched.client.connect import connect

    last = _last_mark(named)
    if last is None:
        raise ClusterError(
            "the scheduler was not replaced.",
            why="which home it has is not known.",
            fix="see `raysched doctor`.",
        )
    _stop_scheduler(named)
    return connect(last.home, state_url=last.state_url)


def _last_mark(named: Path | None) -> Mark | None:
    """Return what the scheduler of the Ray that is joined has left, even if it hangs now.

    Raises:
        Conflict: it has another home than the one named.
    """
    import ray

    from raysched.cluster import mark

    last = mark.read(ray.get_runtime_context().gcs_address)
    if last is not None and named not in (None, Path(last.home)):
        raise Conflict(
            f"the scheduler of this Ray cluster keeps its home at {last.home}, not {named}.",
            why="a cluster has one scheduler, and a scheduler has one home.",
            fix="leave the home out, or unset RAY_ADDRESS to leave that cluster alone.",
        )
    return last


def down(
    file: File = None,
    home: Home = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also while runs are under way; they become lost.")
    ] = False,
    with_ray: Annotated[
        bool,
        typer.Option("--with-ray", help="A Ray that is not ours is stopped next: spare its runs."),
    ] = False,
) -> None:
    """Seal the history and stop what `up` started.

    That is the scheduler and the Ray of this home, or the cluster that a file describes
    (`ray down`). Where nothing runs there is nothing to do, and that is a success. A Ray that
    RAY_ADDRESS names, and the cluster that this machine is a node of, are left running, and
    so are their runs; only the scheduler is stopped.
    """
    if file is not None:
        from raysched.cli import launch

        launch.down(file, force=force)
        return
    from raysched.cluster import local

    place = home_of(home)
    own = local.find(place) is not None and not os.environ.get("RAY_ADDRESS")
    if not own and not is_running(home):
        say(f"nothing is running for {place}.")
        return
    client = _asked(home, spare_runs=(own or with_ray) and not force)
    if client is not None:
        _seal(client)
    if own:
        disconnect()
        local.stop(place)
        say(f"stopped the scheduler and Ray; the history stays in {place}.")
    elif _stop_scheduler(home and place):
        say("stopped the scheduler; Ray and the runs under way go on.")
    if not with_ray:
        say_next("runs")


def _asked(home: Path | None, *, spare_runs: bool) -> Client | None:
    """Return a client of the scheduler that is about to be stopped, if it answers.

    Raises:
        Conflict: runs that are to be spared are under way, or whether any are is not known.
    """
    try:
        with hurry(_ANSWER_S):
            client = connected(home)
            found = client.status()
            running = found["runs"].get("running", 0)
            waiting = max(0, found.get("with_ray", running) - running)
    except ClusterError as error:
        if spare_runs:
            raise Conflict(
                "whether runs are under way is not known.",
                why=f"the scheduler does not answer: {error.what}",
                fix="run `raysched up --renew` first, or use --force.",
            ) from error
        say(f"the scheduler does not answer ({error.what}) What is not sealed stays in the state")
        say("database, and is sealed when it is up again.")
        return None
    if (running or waiting) and spare_runs:
        words = [f"{running} run(s) are under way"] if running else []
        words += [f"{waiting} run(s) wait in Ray for their start"] if waiting else []
        raise Conflict(
            f"{', and '.join(words)}.",
            why="stopping Ray ends them; the next `raysched up` finds them lost and retries "
            "those whose policy says so.",
            fix="wait, cancel them, or use --force.",
        )
    return client


def _stop_scheduler(named: Path | None) -> bool:
    """Stop the scheduler of the Ray that this process has joined; whether there was one.

    Raises:
        Conflict: it has another home than the one named.
    """
    import ray

    from raysched.cluster.handle import SchedulerHandle

    if not ray.is_initialized():  # it could not be joined, and Ray would start another
        return False
    _last_mark(named)
    try:
        SchedulerHandle.find().stop()
    except NotRunning:
        return False
    return True


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
        with hurry(_ANSWER_S):
            facts = _facts(connected(home))
    except ClusterError as error:
        gone = isinstance(error, NotRunning)
        state = "not running" if gone else "not answering"
        show_facts({"state": state, "home": str(home_of(home)), "reason": error.what}, output)
        say_next("up", *[] if gone else ["--renew"])
        raise typer.Exit(1) from None
    show_facts(facts, output)


def _facts(client: Client) -> dict[str, Any]:
    found = client.status()
    runs: dict[str, int] = found["runs"]
    url: str | None = found["state_url"]
    return {
        "state": "running",
        "home": found["home"],
        "state_url": url and without_password(url),
        "epoch": found["epoch"],
        "jobs": found["jobs"],
        "paused": found["paused"],
        "unfinished_runs": {name: runs[name] for name in sorted(runs)} or 0,
        "next_wake": found["next_wake"],
        "launcher": found["launcher"] or found.get("launcher_state", "none attached"),
        "ray_address": _ray_address(client.home),
        "node": found["node_id"],
        "pid": found["pid"],
        "dashboard": "none",
    }


def _ray_address(home: Path) -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)
