"""An attempt's room: the folder in which it survives every process of ours.

Law: what is in the room decides, not what a process remembers. Each fact is one
file, written once and whole; the room's owner holds a lock that dies with it.
Nothing here knows Docker.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from raysched.errors import AlreadyWatched
from raysched.runners.words import Verdict

_PATIENCE_S = 20.0


class Room:
    """One attempt's folder below `rooms`, and its secrets' folder in memory."""

    def __init__(self, rooms: Path, name: str) -> None:
        self.name = name
        self.path = rooms / name
        self.out = self.path / "out"
        self.log = self.path / "log"
        self.copy = self.path / "copy"
        self.secrets = _in_memory() / name
        self._owner: int | None = None

    # The owner

    def enter(self, patience_s: float = _PATIENCE_S) -> None:
        """Become the only one who watches this attempt; until `leave` or death.

        Raises:
            AlreadyWatched: somebody else still does after `patience_s`.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        end = time.monotonic() + patience_s
        while not self._try_enter():
            if time.monotonic() >= end:
                raise AlreadyWatched(
                    "another process of this node watches the attempt.",
                    why=f"{self.path / 'owner'} is locked.",
                    fix="wait for it, or stop the attempt.",
                )
            time.sleep(0.02)

    def _try_enter(self) -> bool:
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        try:
            owner = os.open(self.path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return False  # swept away between the two; once more
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The room may have been swept while this lock was waited for.
            if os.stat(self.path / "owner").st_ino == os.fstat(owner).st_ino:
                self._owner = owner
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(owner)
        return False

    def leave(self) -> None:
        """Let go of the room."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    @property
    def entered(self) -> bool:
        """Whether this object holds the room."""
        return self._owner is not None

    def watched(self) -> bool:
        """Whether any process holds the room now."""
        try:
            owner = os.open(self.path / "owner", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who look do not take each other for the owner.
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(owner)
        return False

    # The facts

    def exists(self) -> bool:
        """Whether this node has the attempt's room."""
        return self.path.is_dir()

    def condemn(self, verdict: Verdict) -> Verdict:
        """Record why we end the attempt, and return the reason that stands: the first."""
        return cast("Verdict", self._once("verdict", verdict.encode()).decode())

    def verdict(self) -> Verdict | None:
        """Return why we ended the attempt, if we did."""
        return cast("Verdict | None", self._text("verdict"))

    def launch(self, evidence: dict[str, Any]) -> dict[str, Any]:
        """Record that the container is about to start, and return what stands: the first."""
        found: dict[str, Any] = json.loads(self._once("launched", json.dumps(evidence).encode()))
        return found

    def launched(self) -> dict[str, Any] | None:
        """Return what was recorded before the container was started, if it was."""
        text = self._text("launched")
        return None if text is None else json.loads(text)

    def reap(self, reason: str) -> None:
        """Record that nobody watched the attempt and it was ended."""
        self._once("reaped", reason.encode())

    def reaped(self) -> str | None:
        """Return why the attempt was ended unwatched, if it was."""
        return self._text("reaped")

    def farewell(self) -> bytes | None:
        """Return what the last watcher left, if the attempt is over."""
        try:
            return (self.path / "farewell").read_bytes()
        except FileNotFoundError:
            return None

    def bid(self, farewell: bytes) -> None:
        """Leave the farewell; the first stands."""
        self._once("farewell", farewell)

    # The contents

    def furnish(self) -> Path:
        """Make the folder for results, which any user of the container may write to."""
        self.out.mkdir(mode=0o700, exist_ok=True)
        os.chmod(self.out, 0o777)  # noqa: S103  # others of the node cannot pass the room's door
        return self.out

    def hide(self, secrets: dict[str, bytes]) -> Path:
        """Lay secrets out in memory, where the container's user can read them."""
        parent = self.secrets.parent
        parent.mkdir(mode=0o700, exist_ok=True)
        found = parent.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or parent.is_symlink():
            raise PermissionError(f"{parent} is not this user's alone")
        shutil.rmtree(self.secrets, ignore_errors=True)
        self.secrets.mkdir(mode=0o755)
        for name, value in secrets.items():
            (self.secrets / name).write_bytes(value)
            os.chmod(self.secrets / name, 0o444)
        return self.secrets

    def clear(self) -> None:
        """Remove all but the facts, and what only root could: that it was tried is a fact, too."""
        shutil.rmtree(self.secrets, ignore_errors=True)
        self.copy.unlink(missing_ok=True)
        _remove(self.out)
        self.log.unlink(missing_ok=True)
        if self.out.exists():
            self._once("stuck", b"")

    def cleared(self) -> bool:
        """Whether all is removed but the facts, and what only root could remove."""
        stuck = (self.path / "stuck").exists()
        return not self.log.exists() and (stuck or not self.out.exists())

    def sweep(self) -> None:
        """Remove the room, unless something in it is stuck; its owner only."""
        self.clear()
        if not self.out.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def _text(self, fact: str) -> str | None:
        try:
            return (self.path / fact).read_text()
        except FileNotFoundError:
            return None

    def _once(self, fact: str, content: bytes) -> bytes:
        """Write a fact if there is none, whole or not at all, and return the one there is."""
        new = self.path / f".{fact}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            new.write_bytes(content)
            os.link(new, self.path / fact)
        except FileExistsError:
            return (self.path / fact).read_bytes()
        finally:
            new.unlink(missing_ok=True)
        return content


def _remove(folder: Path) -> None:
    """Remove a folder as far as this user may."""
    try:
        folder.rmdir()  # most are empty, and a process costs more than all the rest
    except FileNotFoundError:
        pass
    except OSError:  # by `rm`, which follows no link and takes folders of any depth
        # Again if it is killed: to a guard it is a child that a job has left behind.
        remove = ["/bin/rm", "-rf", str(folder)]
        while subprocess.run(remove, stderr=subprocess.DEVNULL, check=False).returncode < 0:  # noqa: S603
            pass


def _in_memory() -> Path:
    return Path("/dev/shm") / f"raysched-{os.getuid()}"  # noqa: S108  # made 0700 and checked
