"""A card as HTML: at most 20 KB, no script, no link, nothing but text and our own tags.

Law: text reaches the page through `_text` alone, which makes it harmless, escapes it
and cuts it to a number of bytes; attributes hold our own words and numbers. What was
cut is said. Colours are the notebook's own, and legible on light and dark without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from raysched.show.card import Bar, Card, Facts, Lines, Part, Table
from raysched.show.text import harmless

LIMIT = 20_000
"""The most bytes of one card, in UTF-8."""

_LAST_WORDS = 200  # kept back for what must still be said, and for closing tags
_TITLE, _FACT, _CELL, _LINE = 400, 2_500, 300, 500

_GOOD, _BAD, _BUSY, _IDLE = "good", "bad", "busy", "idle"
_TONES = {
    "succeeded": _GOOD,
    "failed": _BAD,
    "timed_out": _BAD,
    "lost": _BAD,
    "not answering": _BAD,
    "running": _BUSY,
    "queued": _BUSY,
    "retrying": _BUSY,
    "cancelled": _IDLE,
    "skipped": _IDLE,
    "paused": _IDLE,
    "warning": _IDLE,
}

# Of JupyterLab's variables where it has them; the other values are legible on white and
# on near-black. Backgrounds stay as they are, so that no theme is ever half ours.
_STYLE = """<style>
.rsd{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);\
color:var(--jp-ui-font-color1,inherit);\
border-left:3px solid var(--jp-border-color1,#8888);padding:2px 0 2px 12px;max-width:1100px}
.rsd code,.rsd pre{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;\
color:inherit;background:none}
.rsd pre{margin:2px 0 6px;white-space:pre-wrap;overflow-wrap:anywhere}
.rsd table{border-collapse:collapse;margin:4px 0;color:inherit;font-size:13px}
.rsd tr,.rsd tbody tr:nth-child(odd),.rsd tbody tr:hover{background:none!important}
.rsd th,.rsd td{padding:1px 14px 1px 0!important;border:0;text-align:left!important;\
vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere;max-width:70ch}
.rsd th,.rsd .dim{font-weight:normal;opacity:.72}
.rsd .bar{width:260px;height:8px;border:1px solid var(--jp-border-color1,#8888);border-radius:4px}
.rsd .bar div{height:100%;border-radius:3px;background:var(--jp-brand-color1,#2f7fd1)}
.rsd b::before{content:"\\25cf\\00a0"}
.rsd .good::before{color:var(--jp-success-color1,#2e9d4f)}
.rsd .bad::before{color:var(--jp-error-color1,#d9453d)}
.rsd .busy::before{color:var(--jp-brand-color1,#2f7fd1)}
.rsd .idle::before{color:var(--jp-warn-color1,#b5760b)}
</style>"""


def html(card: Card) -> str:
    """Return a card as a piece of HTML of at most `LIMIT` bytes."""
    head = _head(card)
    pieces, left = [_STYLE, '<div class="rsd">', head], LIMIT - _LAST_WORDS
    left -= sum(map(_size, pieces))
    for piece, more in _bodies(card.parts, left):
        pieces.append(piece)
        if more:
            pieces.append(f'<div class="dim">{more}</div>')
    return "".join([*pieces, "</div>"])


def _head(card: Card) -> str:
    state = f" {_state(card.state)}" if card.state else ""
    note = f' <span class="dim">{_text(card.note, _FACT)}</span>' if card.note else ""
    title = f" <code>{_text(card.title, _TITLE)}</code>" if card.title else ""
    return f'<div><span class="dim">{_text(card.kind, _CELL)}</span>{title}{state}{note}</div>'


def _bodies(parts: Iterable[Part], left: int) -> Iterator[tuple[str, str]]:
    """Return the parts that fit into `left` bytes, each with what there is to say of it."""
    for part in parts:
        rows = list(_rows(part))
        if not rows:
            continue
        before, after = _frame(part)
        left -= _size(before + after) + _LAST_WORDS
        taken = _fitting(rows, left)
        left -= sum(map(_size, taken))
        if not taken:
            yield "", "The rest does not fit here."
            return
        yield before + "".join(taken) + after, _rest(part, len(taken), len(rows))


def _fitting(rows: Sequence[str], left: int) -> Sequence[str]:
    for count, row in enumerate(rows):
        left -= _size(row)
        if left < 0:
            return rows[:count]
    return rows


def _rows(part: Part) -> Iterator[str]:
    match part:
        case Facts():
            for name, value in part.facts.items():
                if value:
                    yield f"<tr><th>{_text(name, _CELL)}</th><td>{_text(value, _FACT)}</td></tr>"
        case Bar():
            yield (
                f'<div class="bar"><div style="width:{part.share:.1%}"></div></div>'
                f"<div>{_text(part.text, _CELL)}</div>"
            )
        case Table():
            for row in part.rows:
                yield f"<tr>{''.join(_cells(row, part.states))}</tr>"
        case Lines():
            for line in part.lines:
                yield f"{_text(line, _LINE)}\n"


def _cells(row: Sequence[str], states: int | None) -> Iterator[str]:
    for number, cell in enumerate(row):
        yield f"<td>{_state(cell) if number == states and cell else _text(cell, _CELL)}</td>"


def _frame(part: Part) -> tuple[str, str]:
    match part:
        case Facts():
            return "<table><tbody>", "</tbody></table>"
        case Bar():
            return "", ""
        case Table():
            head = "".join(f"<th>{_text(name, _CELL)}</th>" for name in part.header)
            return f"<table><thead><tr>{head}</tr></thead><tbody>", "</tbody></table>"
        case Lines():
            return f'<div class="dim">{_text(part.name, _CELL)}</div><pre>', "</pre>"


def _rest(part: Part, taken: int, rows: int) -> str:
    """Return what is said of that which is not shown."""
    if isinstance(part, Table) and part.total > taken:
        return f"{taken:,} of {part.total:,} {_text(part.of, _CELL)}"
    if isinstance(part, Lines) and part.total is not None and part.total > taken:
        return f"{taken:,} of {part.total:,} lines"
    return f"{taken:,} of {rows:,}; more does not fit here" if taken < rows else ""


def _state(state: str) -> str:
    tone = _TONES.get(state, "")
    return f'<b class="{tone}">{_text(state, _CELL)}</b>' if tone else _text(state, _CELL)


def _text(text: object, most: int) -> str:
    """Return text as harmless HTML of about `most` bytes; says how much of it was left out."""
    whole = str(text).replace("\r\n", "\n")
    marks: list[str] = []
    size = 0
    for taken, mark in enumerate(whole):
        shown = escape(harmless(mark))
        size += _size(shown)
        if size > most:
            rest = f"… ({len(whole) - taken:,} more characters)"
            return f'{"".join(marks)}<span class="dim">{rest}</span>'
        marks.append(shown)
    return "".join(marks)


def _size(text: str) -> int:
    return len(text.encode())
