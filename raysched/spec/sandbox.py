"""What a container may be and do: its command, user, network, capabilities and secrets.

What would hand it the node is refused here, when the job is declared; the reasons
stand in `docs/containers.md`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, NoReturn

from raysched.errors import DeclarationError, InvalidUnit
from raysched.spec.options import variables
from raysched.spec.parameters import encodable
from raysched.spec.units import Duration, duration, shown, size

_MOST_ARGUMENTS = 128 * 1024
_LARGEST_ENV = 1024 * 1024
_LARGEST_ID = 2**31 - 1
_SHORTEST_GRACE, _LONGEST_GRACE = timedelta(seconds=1), timedelta(minutes=10)
_SMALLEST_SHM = 4096  # a page
_HOSTILE = ("LD_", "DOCKER_", "NVIDIA_VISIBLE_DEVICES")

_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_HOST_NETWORKS = {
    "host": "it shares the node's own interfaces, and with them Ray's ports",
    "default": "which network that is depends on the node",
    "ingress": "it is Docker Swarm's own",
}
_USER = re.compile(
    r"(?:0|[1-9][0-9]{0,9}|[a-z_][a-z0-9_-]{0,31})(?::(?:0|[1-9][0-9]{0,9}|[a-z_][a-z0-9_-]{0,31}))?",
    re.ASCII,
)
_SECRET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)

CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL"),
    *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    "SYS_NICE",
)
"""The capabilities that a job may have: no way out of its container leads through them."""


def argv(value: Any, of: str) -> tuple[str, ...] | None:
    """Return an argument vector, None for the image's own.

    Raises:
        DeclarationError: a bare string, an empty list, an empty first argument, other
            types, a NUL, or over 128 KiB.
    """
    if value is None:
        return None
    if isinstance(value, str):
        raise DeclarationError(
            f"{of}={shown(value)} is not a list.",
            why="no shell splits it into arguments.",
            fix=f"write {of}={_split(value)}.",
        )
    example = f'write for example {of}=["python", "app.py"].'
    if not isinstance(value, list | tuple) or not value:
        raise DeclarationError(
            f"{of}={shown(value)} is refused.",
            why="it is a list of arguments, one at least; left out, it is the image's own.",
            fix=example,
        )
    for n, item in enumerate(value):
        if type(item) is not str or not encodable(item) or "\0" in item or (n == 0 and not item):
            raise DeclarationError(
                f"{of}[{n}]={shown(item)} is refused.",
                why="an argument is text in UTF-8 without NUL, and the first is not empty.",
                fix=example,
            )
    if sum(len(item.encode()) + 1 for item in value) > _MOST_ARGUMENTS:
        raise DeclarationError(
            f"{of} is longer than {_MOST_ARGUMENTS:,} bytes.",
            why="Linux takes no longer argument.",
            fix="pass a path, or params, which the container reads from RAYSCHED_PARAMS.",
        )
    return tuple(value)


def _split(text: str) -> str:
    words = [shown(word).replace("'", '"') for word in text.split()[:4]]
    return f"[{', '.join(words)}{', ...' if len(text.split()) > 4 else ''}]"


def check_env(env: dict[str, str]) -> None:
    """Check a container's environment beyond what every job's has to be.

    Raises:
        DeclarationError: `LD_*`, which make the loader run other code than the image's,
            `DOCKER_*`, which steer the engine's clients, `NVIDIA_VISIBLE_DEVICES`, which
            names GPUs that Ray did not grant, a variable over 128 KiB, or over 1 MiB in all.
    """
    found = variables(env, "env", reserved=_HOSTILE)
    total = sum(len(f"{name}={value}".encode()) + 1 for name, value in found.items())
    if total > _LARGEST_ENV:
        raise DeclarationError(
            f"env has {total:,} bytes.",
            why=f"{_LARGEST_ENV:,} is the most: Linux takes 2 MiB of variables and arguments.",
            fix="mount a file in place of it.",
        )
    for name, value in found.items():
        if len(f"{name}={value}".encode()) >= _MOST_ARGUMENTS:
            raise DeclarationError(
                f"env has {shown(name)} of over {_MOST_ARGUMENTS:,} bytes.",
                why="Linux takes no longer variable.",
                fix="mount a file in place of it.",
            )


def network(value: object) -> str:
    """Return the name of a network that has interfaces of its own.

    Raises:
        DeclarationError: the node's network, another container's, or no name.
    """
    text = value if type(value) is str else ""
    if text.startswith("container:"):
        _refuse("network", value, "it shares the interfaces of another container")
    if text in _HOST_NETWORKS:
        _refuse("network", value, _HOST_NETWORKS[text])
    if not _NETWORK.fullmatch(text):
        _refuse(
            "network", value, "a network has a name of 1 to 128 letters, digits, '_', '.' and '-'"
        )
    return text


def user(value: object) -> str | None:
    """Return a user, and a group if there is one, by number or name; None for the image's own.

    Raises:
        DeclarationError: anything else.
    """
    if value is None:
        return None
    text = value if type(value) is str else ""
    numbers = [int(part) for part in text.split(":") if part.isdecimal() and len(part) <= 10]
    if not _USER.fullmatch(text) or max(numbers, default=0) > _LARGEST_ID:
        why = f"a user is text such as 1000, 1000:1000 or app:app; numbers go to {_LARGEST_ID:,}"
        _refuse("user", value, why, example="1000:1000")
    return text


def capabilities(value: object) -> tuple[str, ...]:
    """Return the capabilities to add, without `CAP_`, in order.

    Raises:
        DeclarationError: not a list, or one that amounts to root on the node.
    """
    found = set()
    for each in _listed(value, "cap_add", '["NET_RAW"]'):
        name = each.removeprefix("CAP_") if type(each) is str else ""
        if name not in CAPABILITIES:
            raise DeclarationError(
                f"cap_add has {shown(each)}.",
                why="any other than these leads out of the container or does not exist: "
                f"{', '.join(CAPABILITIES)}.",
                fix="leave it out, or run what needs it outside of raysched.",
            )
        found.add(name)
    return tuple(sorted(found))


def secrets(value: object) -> tuple[str, ...]:
    """Return the names of secrets, each once.

    Raises:
        DeclarationError: not a list, no name of a secret, or one twice.
    """
    found = tuple(secret(each, of="secrets") for each in _listed(value, "secrets", '["token"]'))
    for name in found:
        if found.count(name) > 1:
            raise DeclarationError(
                f"secrets has {shown(name)} twice.",
                why="each is a file of its name.",
                fix="write it once.",
            )
    return found


def secret(value: object, *, of: str) -> str:
    """Return `value` if it can name a secret of the node.

    Raises:
        DeclarationError: anything but 1 to 100 letters, digits, `_`, `.` and `-`.
    """
    if type(value) is not str or not _SECRET.fullmatch(value):
        raise DeclarationError(
            f"{of} has {shown(value)}.",
            why="a secret is given by its name, never by its value: 1 to 100 letters, digits, "
            "'_', '.' and '-', the first a letter or digit.",
            fix='write for example "db-password".',
        )
    return value


def shared_memory(value: Any) -> int | None:
    """Return the size of `/dev/shm` in bytes; None for the engine's default.

    Raises:
        InvalidUnit: not a size, or less than a page.
    """
    found = None if value is None else size(value, of="shm_size")
    if found is not None and found < _SMALLEST_SHM:
        raise InvalidUnit(
            f"shm_size={shown(value)} is too small.",
            why=f"shared memory has at least a page, {_SMALLEST_SHM:,} bytes.",
            fix='write for example shm_size="256MiB", or leave it out.',
        )
    return found


def grace_period(value: Duration) -> timedelta:
    """Return how long SIGTERM goes before SIGKILL.

    Raises:
        InvalidUnit: not a duration, below 1 s or above 10 min.
    """
    found = duration(value, of="grace", zero=True)
    if not _SHORTEST_GRACE <= found <= _LONGEST_GRACE:
        raise InvalidUnit(
            f"grace={shown(value)} is out of range.",
            why="it lies from 1 s to 10 min: meanwhile a cancelled or timed-out run goes on.",
            fix='write for example grace="10s".',
        )
    return found


def _listed(value: object, of: str, example: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise DeclarationError(
            f"{of}={shown(value)} is not a list.",
            why="a bare string would be one entry a letter.",
            fix=f"write for example {of}={example}.",
        )
    return list(value)


def _refuse(of: str, value: object, why: str, example: str = "bridge") -> NoReturn:
    raise DeclarationError(
        f"{of}={shown(value)} is refused.",
        why=f"{why}.",
        fix=f'write for example {of}="{example}".',
    )
