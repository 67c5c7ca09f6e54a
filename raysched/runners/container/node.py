"""What a node's operator grants to containers: folders to mount, and secrets.

Both are refused unless the operator has set them up on this node. A path is
judged by where it really leads.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from raysched.errors import OptionRefused, SecretMissing
from raysched.runners.container.task import OUT, SECRETS
from raysched.spec.container import Mount

ROOTS = "RAYSCHED_MOUNT_ROOTS"
SECRETS_DIR = "RAYSCHED_SECRETS_DIR"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_TAKEN = (OUT, SECRETS, "/proc", "/sys", "/dev")


def allowed_mounts(
    mounts: Iterable[Mount], forbidden: str | None
) -> Sequence[tuple[str, str, bool]]:
    """Return mounts as (real source, target, read-only); `forbidden` is the engine's socket.

    Raises:
        OptionRefused: a source is not below a root of the operator's, or is not
            there, or a target is taken.
    """
    roots = [os.path.realpath(root) for root in os.environ.get(ROOTS, "").split(":") if root]
    return [
        (_source(mount.source, roots, forbidden), _target(mount.target), mount.read_only)
        for mount in mounts
    ]


def _source(source: str, roots: Sequence[str], forbidden: str | None) -> str:
    def refused(why: str, fix: str) -> OptionRefused:
        return OptionRefused(f"{source!r} cannot be mounted on this node.", why=why, fix=fix)

    if not os.path.isabs(source) or "\0" in source:
        raise refused("it is no absolute path.", "give the path on the node.")
    real = os.path.realpath(source)
    if not any(_inside(real, root) for root in roots):
        leads = "" if real == os.path.normpath(source) else f"it leads to {real!r}; "
        raise refused(
            f"{leads}the node allows {', '.join(roots) or 'no folder at all'}.",
            f"have the node's operator add a root to {ROOTS}.",
        )
    if not os.path.exists(real):
        raise refused(
            "it does not exist there.", "make it, or place the job on a node that has it."
        )
    mode = os.stat(real).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise refused("it is neither a folder nor a file.", "mount a folder.")
    if forbidden and _inside(os.path.realpath(forbidden), real):
        raise refused("the engine's socket lies in it.", "mount a folder below it.")
    return real


def _target(target: str) -> str:
    plain = os.path.normpath(target)
    taken = [path for path in _TAKEN if _inside(plain, path) or _inside(path, plain)]
    if not os.path.isabs(target) or taken:
        raise OptionRefused(
            f"nothing can be mounted at {target!r}.",
            why=f"{', '.join(taken)} is taken." if taken else "it is no absolute path.",
            fix="mount it elsewhere, such as /data.",
        )
    return plain


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def secret(name: str) -> bytes:
    """Return the value of a secret of this node.

    Raises:
        SecretMissing: there is none, or this user may not read it.
    """
    folder = Path(os.environ.get(SECRETS_DIR, "/etc/raysched/secrets"))
    if not _NAME.fullmatch(name):
        raise SecretMissing(
            f"{name[:100]!r} cannot name a secret.", fix="use letters, digits, '_', '-' and '.'."
        )
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise SecretMissing(
            f"this node has no secret {name!r}.",
            why=f"{folder / name}: {error.strerror}",
            fix=f"have the node's operator put it there, or set {SECRETS_DIR}.",
        ) from error


def registry_auth(name: str) -> dict[str, str]:
    """Return a registry's user and password, of a secret that holds `user:password` or JSON.

    Raises:
        SecretMissing: there is none, or it holds neither.
    """
    text = secret(name).decode("utf-8", "replace").strip()
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        found = None
    user, colon, password = text.partition(":")
    if isinstance(found, dict) and {"username", "password"} <= found.keys():
        return {str(key): str(value) for key, value in found.items()}
    if found is None and colon and not text.startswith("{"):
        return {"username": user, "password": password}
    raise SecretMissing(
        f"the secret {name!r} is no registry's login.",
        fix='put user:password in it, or {"username": …, "password": …}.',
    )
