"""Which Ray is meant: the order in which one is looked for, and nothing is started.

1. The one that is named: by the caller, or by `$RAY_ADDRESS`.
2. The one that was started for the home (`home/ray.json`), while it lives.
3. The cluster that this machine is a node of, if raysched is on it. Where a home is named,
   only if it is that cluster's: whoever names another home wants another scheduler.

What is said goes before what is found, and the home's own Ray before the machine's: a record
in the home can only mean that home, and one Ray can be asked for among many.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from raysched.cluster import local, mark, token


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRay:
    """The address of a Ray, and the record of it if it was started for the home."""

    address: str
    own: local.LocalRay | None = None

    def authenticate(self) -> None:
        """Make this process show the token that this Ray wants, as far as there is one."""
        if self.own is None:
            token.show()
        else:
            local.authenticate(self.own)


def find(home: Path, *, named: bool, address: str | None = None) -> FoundRay | None:
    """Return the Ray that is meant for a home; `named` if it is not just the default one.

    One that is named need not answer.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        return FoundRay(address=address)
    own = local.find(home)
    if own is not None:
        return FoundRay(address=own.address, own=own)
    return _around(home, named=named)


def _around(home: Path, *, named: bool) -> FoundRay | None:
    address = mark.recorded()
    if address is None or not mark.answers(address):
        return None
    token.forget()
    token.show()
    found = mark.read(address)
    if found is None or (named and Path(found.home) != home):
        return None
    return FoundRay(address=address)
