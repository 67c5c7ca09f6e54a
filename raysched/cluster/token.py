"""The token by which Ray knows its own: where it lies, and how this process shows it.

Without one, whoever reaches a port of Ray's executes code (CVE-2023-48022). Ray reads a
file that others may read, too; here such a file is closed, and a new one is never open.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_shown: str | None = None


def default_path() -> Path:
    """Return where Ray looks for a token unless it is told otherwise."""
    return Path.home() / ".ray" / "auth_token"


def create(path: Path) -> None:
    """Write a new token that only this user can read; there must be no such file.

    Raises:
        FileExistsError: there is one.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def close(path: Path) -> bool:
    """Take a token's file from everybody but its owner; whether anybody else could read it."""
    if not path.stat().st_mode & 0o077:
        return False
    path.chmod(0o600)
    return True


def environment(path: str) -> dict[str, str]:
    """Return the environment in which Ray demands, and shows, the token in a file."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": path}


def show_that_of(path: str) -> None:
    """Make this process show the token in a file."""
    global _shown  # noqa: PLW0603 - as is the environment that it tells about
    _shown = path
    os.environ.update(environment(path))
    _have_ray_look_again()


def forget() -> None:
    """Take back what `show_that_of` has put into the environment, to be a stranger again."""
    if _shown is not None and os.environ.get("RAY_AUTH_TOKEN_PATH") == _shown:
        del os.environ["RAY_AUTH_TOKEN_PATH"]
        os.environ.pop("RAY_AUTH_MODE", None)


def show() -> None:
    """Make this process show the token that its environment or its home folder holds, if any.

    Ray shows it of itself only to a cluster that was found, never to one that was named.
    """
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "RAY_AUTH_MODE" not in os.environ and (given or default_path().is_file()):
        os.environ["RAY_AUTH_MODE"] = "token"
    _have_ray_look_again()


def _have_ray_look_again() -> None:
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray read its environment when it was imported, and keeps the first token that it used.
    Config.initialize("")
    with suppress(Exception):
        AuthenticationTokenLoader.instance().reset_cache()
