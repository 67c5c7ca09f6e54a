"""A home: the one directory or URI where everything durable lives.

Law: the rest of the store reaches files through a `Home` alone. `base` says what
one can do, `local` and `remote` do it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyarrow import fs as pafs

from raysched.errors import StoreError
from raysched.store.home.base import FORMAT, MARKER, STAGING, Fill, Home, Staging, storing
from raysched.store.home.local import LocalHome
from raysched.store.home.remote import RemoteHome

__all__ = [
    "FORMAT",
    "MARKER",
    "STAGING",
    "Fill",
    "Home",
    "LocalHome",
    "RemoteHome",
    "Staging",
    "open_home",
    "storing",
]


def open_home(where: str | Path | Home, *, create: bool = False) -> Home:
    """The home at a local path or a URI that pyarrow.fs opens.

    Raises:
        StoreError: it cannot be reached, it does not exist and `create` is not
            given, or a newer raysched made it.
    """
    if isinstance(where, Home):
        return where
    with storing(f"the home {where} cannot be opened."):
        home = _locate(where)
        if isinstance(home, LocalHome):
            if create:
                home.make_folder(home.root)
            elif not os.path.isdir(home.root):
                raise StoreError(
                    f"there is no raysched home at {home.root}.",
                    fix="start a scheduler with this home, or give the path of another.",
                )
        home.check_format(create=create)
        return home


def _locate(where: str | Path) -> Home:
    if isinstance(where, Path) or "://" not in where:
        return LocalHome(where)
    try:
        filesystem, root = pafs.FileSystem.from_uri(where)
    except ValueError as error:  # an unknown scheme, or a URI that is not one
        raise StoreError(
            f"the home {where} cannot be opened.",
            why=str(error),
            fix="give a local path, or a URI such as s3://bucket/folder.",
        ) from error
    if isinstance(filesystem, pafs.LocalFileSystem):
        return LocalHome(root)
    return RemoteHome(filesystem, root)
