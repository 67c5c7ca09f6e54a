"""What of a node's file system a container may see, and where.

Here stands what no job is ever given, whatever the operator allows: what would make
the container the node's master. The folders that an operator allows are the node's
own to check.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NoReturn

from raysched.errors import DeclarationError
from raysched.spec.container import Mount
from raysched.spec.options import check_keys
from raysched.spec.units import shown

_LONGEST = 4096  # Linux's PATH_MAX
_FORMS = {"ro": True, "rw": False}

_NEVER_SOURCES = (
    *("/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot", "/root"),
    *("/var/lib/docker", "/var/lib/containerd"),
)
_SOCKETS = {"docker.sock", "containerd.sock"}
_NEVER_TARGETS = ("/proc", "/sys", "/dev", "/raysched", "/run/secrets")


def mounts(value: Any) -> tuple[Mount, ...]:
    """Return checked mounts: each a `"source:target[:ro|rw]"`, or a mapping of `Mount`'s fields.

    Raises:
        DeclarationError: not a list of those, a path that is not absolute and plain, one
            that is never mounted, or two mounts of one target.
    """
    if not isinstance(value, list | tuple):
        raise DeclarationError(
            f"mounts={shown(value)} is not a list.",
            why="a job may have several.",
            fix='write for example mounts=["/data/in:/in"].',
        )
    found = tuple(_mount(each) for each in value)
    targets = [each.target for each in found]
    for target in targets:
        if targets.count(target) > 1:
            _refuse(target, "two mounts have this target; one would hide the other")
    return found


def _mount(value: Any) -> Mount:
    source: Any
    target: Any
    if type(value) is Mount:
        source, target, read_only = value.source, value.target, value.read_only
    elif isinstance(value, Mapping):
        check_keys(value, ["source", "target", "read_only"], what="mounts has no field")
        source, target = value.get("source"), value.get("target")
        read_only = value.get("read_only", True)
    elif type(value) is str:
        source, target, read_only = _parts(value)
    else:
        _refuse(value, "a mount is text, or a mapping with source, target and read_only")
    if type(read_only) is not bool:
        _refuse(value, f"read_only={shown(read_only)} is neither True nor False")
    return Mount(source=_source(source), target=_target(target), read_only=read_only)


def _parts(text: str) -> tuple[str, str, bool]:
    source, *rest = text.split(":")
    if len(rest) == 1:
        return source, rest[0], True
    if len(rest) != 2 or rest[1] not in _FORMS:
        _refuse(text, "a mount is source:target, source:target:ro or source:target:rw")
    return source, rest[0], _FORMS[rest[1]]


def _source(value: object) -> str:
    path = absolute(value, of="mounts has the source")
    for never in ("/", *_NEVER_SOURCES):
        if path == never or (never != "/" and _within(path, never)):
            _refuse(path, f"{never} is the node's own: what reads or writes it can take it over")
        if _within(never, path):
            _refuse(path, f"{never}, which is the node's own, lies below it")
    if _SOCKETS & set(path.split("/")):
        _refuse(path, "whoever reaches an engine's socket is root on the node")
    return path


def _target(value: object) -> str:
    path = absolute(value, of="mounts has the target")
    for never in _NEVER_TARGETS:
        if path == never or _within(path, never):
            _refuse(path, f"{never} inside a container is the engine's and raysched's own")
        if _within(never, path):
            _refuse(path, f"it would hide {never}")
    return path


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/") and path != folder


def absolute(value: object, *, of: str) -> str:
    """Return `value` as a normal absolute path; `of` begins the error.

    Raises:
        DeclarationError: relative, over 4,096 bytes, with `..`, a colon, or anything that is
            not printable.
    """
    if (
        type(value) is not str
        or not value.startswith("/")
        or len(value) > _LONGEST
        or not value.isprintable()
        or len(value.encode()) > _LONGEST
        or ":" in value
        or ".." in value.split("/")
    ):
        raise DeclarationError(
            f"{of} {shown(value)}.",
            why="a path begins with '/', is printable, and has neither '..' nor ':'; "
            "volumes by name are not supported.",
            fix='write for example "/data/in".',
        )
    return "/" + posixpath.normpath(value).strip("/")


def _refuse(value: object, why: str) -> NoReturn:
    raise DeclarationError(
        f"mounts has {shown(value)}.", why=f"{why}.", fix='write for example "/data/in:/in:ro".'
    )
