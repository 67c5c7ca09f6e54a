"""`up` and `down` with a cluster file: Ray's launcher, between a check and a word of what was done.

Law: what is done on the head is done by `raysched` there, sent through `ray exec`; this
machine holds the file, the token and the SSH key, and never opens one of Ray's ports.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from raysched.cli.output import say, say_next
from raysched.cluster import clusterfile, local, token
from raysched.cluster.clusterfile import ClusterFile
from raysched.errors import ClusterError

_ON_ITS_RAY = "RAY_ADDRESS=auto raysched"  # of the head: never start another Ray there
_RAY_ANSWERS = "RAY_AUTH_MODE=token ray health-check"
# It does not ask before it kills, as what was acknowledged is on disk. Nor is this left to
# `ray down`: where a process ends of itself just as it would be killed, plain `ray stop` breaks
# off before it comes to the GCS, and `ray down` takes that for a success.
_STOP_RAY = "ray stop --force"


def up(path: Path, *, restart: bool) -> None:
    """Bring a cluster up and its scheduler with it; on one that is up, running work goes on.

    Raises:
        InvalidCluster: the file is refused; nothing was done.
        ClusterError: a program is missing, the launcher fails, or the scheduler does not come
            up or is not renewed.
    """
    file = _judged(path)
    _provide_token(file)
    if restart:
        say("stopping the Ray of the head; what runs is lost, and retried as its policy says.")
        _ray("exec", file, _STOP_RAY)
    say(f"bringing up the cluster {file.name!r} ...", "dim")
    keep = [] if restart else ["--no-restart"]
    if _ray("up", file, "--yes", "--disable-usage-stats", *keep):
        raise _launcher_failed("up", file)
    if _ray("exec", file, f"{_ON_ITS_RAY} up --renew"):
        if not _ray("exec", file, _RAY_ANSWERS):
            raise ClusterError(
                f"the scheduler of the cluster {file.name!r} is not up, or not up to date.",
                why="its head says so above. Ray answers there, and what runs goes on.",
                fix=f"do as it says there, and run `raysched up {_quoted(file)}` again.",
            )
        # A head that was there already, but whose Ray is not: only its start commands help.
        say("no Ray answers on the head; starting it there ...", "dim")
        if _ray("up", file, "--yes", "--disable-usage-stats", "--restart-only"):
            raise _launcher_failed("up", file)
    say(f"the cluster {file.name!r} is up, and its scheduler runs on the head.")
    say(f"next: ray exec {_quoted(file)} 'raysched deploy jobs'")


def down(path: Path, *, force: bool) -> None:
    """Seal the history, stop the scheduler, and take the cluster down.

    Raises:
        InvalidCluster: the file is refused; nothing was done.
        ClusterError: runs are under way, or the head does not do as it is told, and not
            `force`; or the launcher fails.
    """
    file = _judged(path)
    words = f"{_ON_ITS_RAY} down --with-ray" + (" --force" if force else "")
    if _ray("exec", file, words):
        if not force:
            raise ClusterError(
                f"the cluster {file.name!r} was left as it is.",
                why="its head refused, as it says above, or could not be asked.",
                fix="do as it says there; --force takes the cluster down all the same.",
            )
        say("the head did not answer: what is not sealed stays in its state database.")
    if _ray("exec", file, _STOP_RAY):
        if not force:
            raise ClusterError(
                f"the Ray of the cluster {file.name!r} was not stopped.",
                why="its head says so above, or could not be asked; its scheduler is stopped.",
                fix="--force takes the cluster down all the same.",
            )
        say("the head did not answer: if its machine goes on, so does its Ray.")
    if _ray("down", file, "--yes"):
        raise _launcher_failed("down", file)
    say(f"the cluster {file.name!r} is down; its history stays in the head's home.")
    say_next("up", os.path.relpath(file.path))


def _judged(path: Path) -> ClusterFile:
    file = clusterfile.read(path)
    for program in ("ssh", "rsync"):
        if shutil.which(program) is None:
            raise ClusterError(
                f"{program} is not installed.",
                why="Ray's launcher reaches the nodes with it.",
                fix="install openssh-client and rsync, or what your system calls them.",
            )
    return file


def _provide_token(file: ClusterFile) -> None:
    path = file.token_path
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        token.create(path)
        say(f"made a token that only you can read: {path}")
    elif token.close(path):
        say(f"others could read the token {path}; now only you can.")


def _ray(command: str, file: ClusterFile, *words: str) -> int:
    """Run a command of Ray's launcher, and return its exit code; what it says is narration."""
    style = ["--log-style=pretty"]  # what Ray takes for a log file has each line twice
    line = [local.ray_program(), command, *style, str(file.path), *words]
    done = subprocess.run(  # noqa: S603 - Ray's own program
        line,
        cwd=file.path.parent,  # relative paths of the file go by its folder
        stdout=2,
        check=False,
        # The first is to keep what it tells in order with what ssh does, the second its default.
        env={**os.environ, "PYTHONUNBUFFERED": "1", "RAY_UP_enable_autoscaler_v2": "1"},
    )
    return done.returncode


def _launcher_failed(command: str, file: ClusterFile) -> ClusterError:
    return ClusterError(
        f"`ray {command}` failed for the cluster {file.name!r}.",
        why="it says so above.",
        fix=f"mend that, and run `raysched {command} {_quoted(file)}` again.",
    )


def _quoted(file: ClusterFile) -> str:
    return shlex.quote(os.path.relpath(file.path))
