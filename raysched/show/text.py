"""Text from elsewhere, made harmless for terminals and pages; instants and lengths, made readable.

Law: whatever a job, a log line, a name or an error says passes through `harmless` or
`one_line` before it is printed, and is never read as markup.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

# What moves the cursor, changes the terminal's state, reorders or hides what is beside it:
# control characters but for tab and newline, line separators, bidirectional marks,
# invisible and tag characters, and halves of surrogate pairs, which no stream can encode.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def harmless(text: object) -> str:
    """Return any value as text in which hostile characters stand as visible escapes."""
    # A line that ends in CR LF is no attack.
    return _HOSTILE.sub(_visible, str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Return any value as harmless text without line breaks."""
    return re.sub(r"\s*[\n\t]\s*", " ", harmless(text)).strip()


def harmless_json(text: str) -> str:
    """Return JSON text that means the same, its hostile characters as JSON escapes."""
    return _HOSTILE.sub(_json_escape, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def instant(value: datetime | None, zone: str = "UTC") -> str:
    """Return an instant as a zone's wall clock shows it, and the zone: `2026-11-22 06:00:00 EST`.

    Empty for None.
    """
    if value is None:
        return ""
    here = value.astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    name = here.tzname() or zone
    # Many zones have no other name than their offset, which reads like part of the time.
    return f"{here:%Y-%m-%d %H:%M:%S} {f'UTC{name}' if name[0] in '+-' else name}"


def until(value: datetime | None, now: datetime) -> str:
    """Return how far away an instant is: `in 3m 20s`, `2h 5m ago`; empty for None."""
    if value is None:
        return ""
    seconds = (value - now).total_seconds()
    return f"in {length(seconds)}" if seconds >= 0 else f"{length(-seconds)} ago"


def length(seconds: float | None) -> str:
    """Return seconds as a reader wants them: `0.25s`, `12.5s`, `3m 20s`, `2h 5m`, `4d 1h`."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.2f}s" if seconds < 9.995 else f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, smaller, rest in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= size:
            least = whole % size // smaller
            return f"{whole // size}{unit}" + (f" {least}{rest}" if least else "")
    return f"{whole // 60}m" + (f" {whole % 60}s" if whole % 60 else "")


def listed(names: Sequence[str]) -> str:
    """Return a few names, or how many there are and the first of them."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{len(names):,} jobs: {shown}, ..."


def size(count: float | None) -> str:
    """Return bytes in the largest fitting binary unit: `2.0 KiB`; empty for None."""
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def plain(value: Any) -> Any:
    """Return a cell of a DataFrame as a plain Python value; None for any of pandas' blanks."""
    if isinstance(value, list | tuple | dict | str) or value is None:
        return value
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        value = value.tolist()
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()  # of NaT: NaT
    # By name, without pandas: NaT and pandas.NA are the only values of their types.
    blank = type(value).__name__ in ("NaTType", "NAType")
    return None if blank or (isinstance(value, float) and math.isnan(value)) else value


def plain_rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a DataFrame as dicts of plain values."""
    return [{name: plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
