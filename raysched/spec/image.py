"""References to images, by the grammar of distribution/reference.

`[registry[:port]/]path/components[:tag][@sha256:digest]`. What does not follow it is
refused with the column of the fault, so that nothing of it reaches an engine that
might read it otherwise.
"""

from __future__ import annotations

import re
from typing import NoReturn

from raysched.errors import DeclarationError
from raysched.spec.units import shown

_LONGEST_NAME = 255
_LONGEST = _LONGEST_NAME + 1 + 128 + len("@sha256:") + 64
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
    r"|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?",
    re.ASCII,
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)


def image_reference(value: object) -> str:
    """Return `value` if it names an image.

    Raises:
        DeclarationError: anything but a reference, such as an upper-case repository, a
            digest that is not SHA-256, or the id of an image, which one node alone knows.
    """
    if type(value) is not str or not value:
        _refuse(value, "an image is named by text that is not empty")
    if len(value) > _LONGEST:
        _refuse(value, f"it has {len(value):,} characters; the longest has {_LONGEST}")
    if _ID.fullmatch(value):
        _refuse(value, "an image's id means nothing on the other nodes")
    named, at, digest = value.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        why = "a digest is 'sha256:' and 64 lower-case hexadecimal digits"
        _refuse(value, why, len(named) + 1, digest)
    slash = named.rfind("/") + 1
    colon = named.find(":", slash)
    name, tag = (named, None) if colon < 0 else (named[:colon], named[colon + 1 :])
    if tag is not None and not _TAG.fullmatch(tag):
        why = "a tag is 1 to 128 letters, digits, '_', '.' and '-', and begins with none of '.-'"
        _refuse(value, why, colon + 1, tag)
    _check_name(value, name)
    return value


def _check_name(value: str, name: str) -> None:
    column, parts = 0, name.split("/")
    if len(parts) > 1 and _is_registry(parts[0]):
        if not _HOST.fullmatch(parts[0]):
            why = "a registry is a host's name or address, and a port if there is a ':'"
            _refuse(value, why, 0, parts[0])
        column, parts = len(parts[0]) + 1, parts[1:]
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            _refuse(value, _why_not(part), column, part)
        column += len(part) + 1
    if len(name) > _LONGEST_NAME:
        _refuse(value, f"its name has over {_LONGEST_NAME} characters", _LONGEST_NAME, "")


def _is_registry(part: str) -> bool:
    return part == "localhost" or bool(set(part) & set(".:["))


def _why_not(part: str) -> str:
    if not part:
        return "a part of the name is empty"
    if part.startswith("-"):
        return "what begins with '-' is an option and no image"
    if part.isascii() and _COMPONENT.fullmatch(part.lower()):
        return "a repository is written in lower case"
    return (
        "each part of a repository's name is lower-case letters and digits, "
        "with single '.', '_', '__' or dashes between them"
    )


def _refuse(value: object, why: str, column: int | None = None, part: str = "") -> NoReturn:
    where = "" if column is None else f" at column {column + 1}: {shown(part)}"
    raise DeclarationError(
        f"image={shown(value)} is refused{where}.",
        why=f"{why}.",
        fix='write for example image="acme/wordcount:1" or image="ghcr.io/acme/wordcount:1".',
    )
