"""What pinned code says, whatever process has pinned it.

Two processes that pickle the same function give different bytes: which equal strings
are one object depends on whether the module was compiled or read from its cache, the
order of a set on the hash seed, and cloudpickle names classes at random. So it is not
the bytes that are hashed but the pickle's operations, with these differences taken out.
"""

from __future__ import annotations

import hashlib
import pickletools
from typing import Any

_FRAMING = {"PROTO", "FRAME", "STOP"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_UNORDERED = {"FROZENSET", "ADDITEMS"}

_Token = tuple[str, object]


def fingerprint(code: bytes) -> str:
    """Return the content hash of pinned code: SHA-256 in hex."""
    digest = hashlib.sha256()
    for kind, value in _tokens(code, _random_names()):
        digest.update(f"{kind} {value!r}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _tokens(code: bytes, random_names: set[str]) -> list[_Token]:
    tokens: list[_Token] = []
    memo: dict[int, _Token] = {}
    classes: dict[object, int] = {}
    objects = 0
    argument: Any
    for operation, argument, _ in pickletools.genops(code):
        name = operation.name
        if name in _FRAMING:
            continue
        if name == "MEMOIZE" or name in _PUT:
            last = tokens[-1]
            if not _is_plain(last):
                last, objects = ("object", objects), objects + 1
            memo[len(memo) if name == "MEMOIZE" else argument] = last
        elif name in _GET:
            tokens.append(memo[argument])
        elif name in _UNORDERED:
            _sort_items(tokens)
            tokens.append((name, None))
        elif isinstance(argument, str) and argument in random_names:
            tokens.append(("class", classes.setdefault(argument, len(classes))))
        else:
            tokens.append((_kind(name), argument))
    return tokens


def _kind(name: str) -> str:
    """Return the operation, without how long its argument is."""
    for kind in ("UNICODE", "BYTES"):
        if name.rstrip("8").endswith(kind):
            return kind
    return name


def _is_plain(token: _Token) -> bool:
    """Whether it makes no difference if a value is the same object as an equal one."""
    return token[0] in ("UNICODE", "BYTES", "class")


def _sort_items(tokens: list[_Token]) -> None:
    start = max(n for n, (kind, _) in enumerate(tokens) if kind == "MARK") + 1
    if all(_is_plain(token) or token[0].startswith("BININT") for token in tokens[start:]):
        tokens[start:] = sorted(tokens[start:], key=repr)


def _random_names() -> set[str]:
    from ray.cloudpickle import cloudpickle

    return set(cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.values())
