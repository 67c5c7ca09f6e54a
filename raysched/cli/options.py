"""The options that several commands share, and how a home is reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from raysched.cli import completion
from raysched.cli.output import Format, say
from raysched.errors import ClusterError, InvalidParameter, NotFound, NotRunning

if TYPE_CHECKING:
    from raysched.client import Client
    from raysched.store.archive import Archive

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="RAYSCHED_HOME",
        show_default="~/raysched",
        help="The directory where everything durable lives.",
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to write the result.")]
All = Annotated[bool, typer.Option("--all", help="Show all rows, not only 50.")]
Since = Annotated[
    str,
    typer.Option(
        "--since", help="2h, 7d, today, yesterday, monday, a day, an instant with its zone, or all."
    ),
]
_ID = "A run's id, or a unique prefix of it."
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A job's name.", autocompletion=completion.jobs),
]
RunId = Annotated[str, typer.Argument(metavar="ID", help=_ID, autocompletion=completion.runs)]
Unfinished = Annotated[
    str, typer.Argument(metavar="ID", help=_ID, autocompletion=completion.unfinished)
]
Finished = Annotated[
    str, typer.Argument(metavar="ID", help=_ID, autocompletion=completion.finished)
]
OfJob = Annotated[
    str | None,
    typer.Option("--job", help="Only those of this job.", autocompletion=completion.jobs),
]


def home_of(home: Path | None) -> Path:
    """Return the home that is meant."""
    from raysched.client.connect import default_home

    return default_home() if home is None else home.expanduser().absolute()


def connected(home: Path | None) -> Client:
    """Return a client of the running scheduler; nothing is started.

    Raises:
        NotRunning: nothing runs.
    """
    if not is_running(home):  # at once, without the second that it takes to import Ray
        raise NotRunning(
            f"no scheduler is running for {home_of(home)}.",
            why="neither RAY_ADDRESS nor a record in the home names a Ray that is alive, and no "
            "cluster with raysched on it has this machine as a node.",
            fix="run `raysched up`.",
        )
    from raysched.client.connect import connect

    # A cluster's scheduler knows its home; a default of ours does not.
    return connect(home and home_of(home), start=False)


def is_running(home: Path | None) -> bool:
    """Whether there is a Ray for a home: its own, one that is named, or this node's cluster."""
    from raysched.client.connect import find_ray

    return find_ray(home and home_of(home)) is not None


def history_of(home: Path | None) -> Archive:
    """Return what answers about the past: the files of a home; a scheduler need not run.

    Only on a cluster is its scheduler asked where the home is, and is not seen from here,
    the files are read beside it.

    Raises:
        NotFound: there is no such home.
    """
    from raysched.cluster import local
    from raysched.store.archive import FileArchive

    place = home_of(home)
    if local.find(place) is not None:
        return FileArchive(place)
    if is_running(home):
        try:
            return connected(home).archive
        except ClusterError:
            pass
    if not place.is_dir():
        raise NotFound(
            f"there is no history at {place}.",
            why="the directory does not exist.",
            fix="start a scheduler with `raysched up`, or name another --home.",
        )
    say(f"no scheduler is running; this is what the files in {place} hold.", "dim")
    return FileArchive(place)


def params_of(pairs: list[str]) -> dict[str, Any]:
    """Return parameters from `k=v` pairs: a value is JSON if it reads as JSON, else a string.

    Raises:
        InvalidParameter: no `=`, no name, or a name twice.
    """
    params: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            _refuse(pair, "a parameter is written name=value.", f"write -p {name or 'name'}=VALUE.")
        if name in params:
            _refuse(pair, f"{name!r} is given twice.", "give each parameter once.")
        params[name] = _value(value)
    return params


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(text: str) -> NoReturn:
    raise ValueError(text)  # Python reads NaN and Infinity, JSON has none


def _refuse(pair: str, why: str, fix: str) -> NoReturn:
    from raysched.spec.units import shown

    raise InvalidParameter(f"-p {shown(pair)} is refused.", why=why, fix=fix)
