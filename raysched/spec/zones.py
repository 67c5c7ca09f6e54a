"""Time zones by the names of the IANA database."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import TypeGuard
from zoneinfo import available_timezones

from raysched.errors import InvalidSchedule
from raysched.spec.units import shown

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)

_zones = lru_cache(maxsize=1)(available_timezones)


def zone_name(value: object) -> str:
    """Return `value` if it is the IANA name of a time zone.

    Raises:
        InvalidSchedule: a path, an abbreviation, or no such zone.
    """
    text = value if type(value) is str and len(value) <= 64 and _ZONE.fullmatch(value) else ""
    if text in _zones() and text != "localtime":
        return text
    # Of places only: an abbreviation that looks alike may be hours away, as EST is from CEST.
    near = get_close_matches(value, _zones(), n=1) if _is_place(value) else []
    raise InvalidSchedule(
        f"timezone={shown(value)} is not a time zone.",
        why="a zone has a name of the IANA database.",
        fix=f'write for example timezone="{near[0] if near else "Europe/Berlin"}".',
    )


def _is_place(value: object) -> TypeGuard[str]:
    return type(value) is str and len(value) <= 64 and "/" in value
