"""The mark by which a Ray cluster is known to have raysched on it, and where its home is.

The scheduler sets it; whoever is on one of the cluster's nodes sees it, by the record that
`ray start` leaves there. A Ray without the mark is somebody else's, and is left alone.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_NAMESPACE = b"raysched"
_KEY = b"mark"
_KNOCK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where the scheduler of a cluster keeps, or kept, its home and its state."""

    home: str
    state_url: str | None


def leave(mark: Mark) -> None:
    """Mark the cluster that this process is connected to; it lasts as long as the cluster."""
    from ray.experimental import internal_kv

    text = json.dumps(asdict(mark)).encode()
    internal_kv._internal_kv_put(_KEY, text, overwrite=True, namespace=_NAMESPACE)


def read(address: str) -> Mark | None:
    """Return the mark of the cluster at this address; None if it has none or cannot be asked.

    It is asked with the token that this process shows. Where nothing `answers`, this takes 40 s.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    with suppress(Exception):  # another version of Ray, or one that wants another token
        client = GcsClient(address=address)
        text = client.internal_kv_get(_KEY, _NAMESPACE, timeout=_KNOCK_S)
        return None if text is None else Mark(**json.loads(text))
    return None


def recorded() -> str | None:
    """Return the address of the cluster that `ray start` made this machine a node of.

    Only a record that this user has written counts: Ray's folder is open to all, and whoever
    is named there gets to see the token and the code of jobs.
    """
    path = _ray_folder() / "ray_current_cluster"
    with suppress(OSError, UnicodeDecodeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor) as file:
            if os.fstat(file.fileno()).st_uid == os.getuid():
                return file.read(200).strip() or None
    return None


def _ray_folder() -> Path:
    # As Ray has it, without the time that it takes to import Ray.
    parent = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
    return Path(parent if os.path.isdir(parent) else tempfile.gettempdir()) / "ray"


def answers(address: str) -> bool:
    """Whether anybody listens at this address; it says at once, or within two seconds."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
    except (OSError, ValueError, OverflowError):  # also what is no address
        return False
    return True
