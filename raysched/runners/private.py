"""Folders of this user's alone, where processes of one node find each other's sockets."""

from __future__ import annotations

import os
from pathlib import Path

from raysched.errors import RayschedError


def make_private(directory: Path) -> None:
    """Make a folder that only this user can enter, or take one that is there from all others.

    Raises:
        RayschedError: it is another user's, a link, or no folder.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not directory.is_dir() or directory.is_symlink() or status.st_uid != os.getuid():
        raise RayschedError(
            f"{directory} cannot hold this worker's guard",
            why="it is not a directory of this user's own",
            fix="remove it, or name another directory",
        )
    if status.st_mode & 0o077:
        directory.chmod(0o700)
