"""What an attempt's end proves, and whose fault it is that there is none: decisions over values."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raysched.errors import (
    ContainerError,
    ContainerLost,
    EngineUnavailable,
    OptionRefused,
    StoppedFromOutside,
)
from raysched.runners.container.events import Seen
from raysched.runners.container.faults import Refused
from raysched.runners.container.task import Task

# What the engine calls an error of its own, and is one of the job's.
_OF_THE_JOB = re.compile(
    "unable to find (user|group)|could not select device driver|not found|not a directory"
    "|read-only file system"
)


def doubt(exit_code: int, seen: Seen, *, trusted: bool) -> ContainerError | None:
    """Return why an exit code is no outcome, None if it is one."""
    if seen.kill is not None:
        signal = f"signal {seen.kill}, which is not raysched's"
        return StoppedFromOutside(
            "the container was stopped from outside.",
            why=f"the engine sent it {signal}: somebody did, or the engine itself stopped.",
            fix="a retry runs the job anew; live-restore keeps containers over restarts.",
        )
    if trusted:
        return None
    return ContainerLost(
        f"the container ended with {exit_code}, which proves nothing.",
        why="the engine was restarted meanwhile, and may have stopped it.",
        fix="set live-restore in the engine's configuration.",
    )


def refusal(error: Exception) -> ContainerError:
    """Return what an engine's refusal to make or start a container means."""
    unwell = isinstance(error, Refused) and error.unwell and not _OF_THE_JOB.search(str(error))
    return (EngineUnavailable if unwell else OptionRefused)(
        f"the engine of node {socket.gethostname()} does not run the container.",
        why=str(error)[:1000],
        fix="is the engine well?" if unwell else "change what the job asks for.",
    )


def blame(error: ContainerError) -> dict[str, Any]:
    """Return the facts of an ending that say what went wrong."""
    return {"fault": str(error), "lost": error.lost, "error_type": type(error).__name__}


def lacks_memory(task: Task, seen: Seen, state: Mapping[str, Any], verdict: str | None) -> bool:
    """Whether an end looks like that of a container without memory, but is not called so yet."""
    told = state["OOMKilled"] or seen.oom or seen.kill or verdict
    return bool(task.memory_bytes) and state["ExitCode"] == 137 and not told


def result_files(out: Path, say: Callable[[str], object]) -> tuple[Path, ...]:
    """Return the result files, as `*.parquet` names them in a shell: regular ones, since a
    link would lead out of the room.

    Raises:
        OSError: the folder cannot be read, which must not look like one without results.
    """
    found = []
    for name in sorted(os.listdir(out)):
        if not name.endswith(".parquet") or name.startswith("."):
            continue
        path = out / name
        if path.is_file() and not path.is_symlink():
            found.append(path)
        else:
            say(f"{name!r} is no regular file, and no result")
    return tuple(found)


def instant(ns: int | None) -> datetime | None:
    """Return an instant that the engine gave in nanoseconds."""
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, UTC)
