"""Draws the pictures of docs/policies.md: what the production scheduler does, in virtual time.

    python docs/pictures/draw.py     # writes the SVG files beside this one

Each picture is a list of rows, each row a world that is left to itself for an hour or two.
Nothing is drawn that the engine did not decide; a test holds the files against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

import raysched as rs
from raysched.spec.units import from_us
from raysched.testing import Act, Event, World

START = datetime(2026, 1, 1, tzinfo=UTC)
Story = Callable[[World], None]


def m(minutes: float) -> timedelta:
    return timedelta(minutes=minutes)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a picture: jobs, what their attempts do, and what happens besides."""

    label: str
    jobs: Sequence[rs.Job]
    act: Callable[..., Act] = lambda order: Act(takes=m(1))
    story: Sequence[tuple[float, Story]] = ()  # at a minute from the start, this
    down: tuple[float, float] | None = None  # no scheduler, in minutes from the start
    window: int = 64
    start: datetime = START
    blue: str = ""  # the name of a job whose runs are drawn in blue


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Rows over one axis of time, in minutes from each row's start."""

    rows: Sequence[Row]
    minutes: float
    tick: float
    label: Callable[[datetime], str] = field(default=lambda at: f"{at:%H:%M}")


# ------------------------------------------------------------------ what happens


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One attempt, or a run's wait for it; in minutes from the start."""

    run: str
    begin: float
    end: float
    status: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One slot, or the span of slots that one decision covers."""

    at: float
    last: float
    decision: str


def happen(row: Row, minutes: float) -> tuple[list[Mark], list[Bar]]:
    """Let a row's world run, and return the slots that were decided and the attempts made."""
    world = World(row.start, script=row.act, window=row.window)
    world.deploy(*row.jobs)
    story = list(row.story)
    if row.down:
        story += [(row.down[0], World.kill_scheduler), (row.down[1], World.start_scheduler)]
    for minute, act in sorted(story, key=lambda each: each[0]):
        world.run_until(row.start + m(minute))
        act(world)
    world.run_until(row.start + m(minutes))
    return list(_marks(world, row.start)), list(_bars(world, row.start, minutes))


def _marks(world: World, start: datetime) -> Iterator[Mark]:
    for each in world.disk.dataset("decisions"):
        first, last = (_minutes(each[name], start) for name in ("slot", "last_slot"))
        yield Mark(at=first, last=last, decision=str(each["decision"]))


def _bars(world: World, start: datetime, minutes: float) -> Iterator[Bar]:
    waits: dict[str, float] = {}
    for name, run in world.disk.runs.items():
        waits[name] = (run.created_at - start) / m(1)
    for run in world.disk.dataset("runs"):
        waits[run["run_id"]] = _minutes(run["created_at"], start)
    tries: dict[str, list[tuple[float, float, str]]] = {name: [] for name in waits}
    for each in world.disk.dataset("attempts"):
        if each["started_at"] is not None:
            span = (_minutes(each["started_at"], start), _minutes(each["finished_at"], start))
            tries[each["run_id"]].append((*span, str(each["status"])))
    for name, run in world.disk.runs.items():
        if run.state == "running" and run.attempt_started_at:
            tries[name].append(((run.attempt_started_at - start) / m(1), minutes, "running"))
    finished = world.disk.dataset("runs")
    ends = {run["run_id"]: _minutes(run["finished_at"], start) for run in finished}
    ends_as = {run["run_id"]: str(run["status"]) for run in finished}
    for name in sorted(waits, key=lambda name: (waits[name], tries[name], name)):
        at = waits[name]
        for begin, end, status in tries[name]:
            if begin - at > 0.2:
                yield Bar(run=name, begin=at, end=begin, status="waits")
            yield Bar(run=name, begin=begin, end=end, status=status)
            at = end
        if (end := ends.get(name, minutes)) - at > 0.2:
            yield Bar(run=name, begin=at, end=end, status="waits")
            if name in ends:
                yield Bar(run=name, begin=end, end=end, status=ends_as[name])


def _minutes(us: int, start: datetime) -> float:
    return (from_us(us) - start) / m(1)


# ------------------------------------------------------------------ how it is drawn

_LEFT, _WIDTH, _RIGHT, _LANE, _TOP = 190, 690, 40, 15, 26
_ALL = _LEFT + _WIDTH + _RIGHT
_COLORS = {
    "succeeded": "#2f9e63",
    "running": "#3b82c4",
    "failed": "#d1495b",
    "timed_out": "#e08e2b",
    "cancelled": "#8a8f98",
    "lost": "#8b5fbf",
    "waits": "none",
}
_BLUE = _COLORS["running"]
_GLYPHS = {"fired": "▼", "skipped": "✕", "coalesced": "◆", "missed": "○"}
_INKS = {"fired": "#1c2733", "skipped": "#d1495b", "coalesced": "#6b7280", "missed": "#e08e2b"}


def draw(picture: Picture) -> str:
    """Return a picture as SVG."""
    out: list[str] = []
    y = _TOP
    used: set[str] = set()
    for row in picture.rows:
        marks, bars = happen(row, picture.minutes)
        used |= {mark.decision for mark in marks} | {bar.status for bar in bars}
        height, drawn = _row(row, marks, bars, picture, y)
        out += drawn
        y += height
    legend, height = _legend(used, y)
    axis = list(_axis(picture, y))
    total = y + height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_ALL} {total}"'
            ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11">',
            f'<rect width="100%" height="{total}" fill="#ffffff"/>',
            *axis,
            *out,
            *legend,
            "</svg>\n",
        ]
    )


def _x(minute: float, picture: Picture) -> float:
    return _LEFT + _WIDTH * minute / picture.minutes


def _axis(picture: Picture, bottom: float) -> Iterator[str]:
    minute = 0.0
    while minute <= picture.minutes:
        x = _x(minute, picture)
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>'
        text = picture.label(picture.rows[0].start + m(minute))
        yield _text(x, 15, text, anchor="middle", fill="#6b7280")
        minute += picture.tick


def _row(
    row: Row, marks: list[Mark], bars: list[Bar], picture: Picture, y: float
) -> tuple[float, list[str]]:
    lanes = _lanes(bars)
    labels = row.label.split("\n")
    height = max(24 + _LANE * (max(lanes.values(), default=0) + 1) + 8, 14 * len(labels) + 12)
    out = [f'<line x1="0" y1="{y}" x2="{_ALL}" y2="{y}" stroke="#d1d5db"/>']
    if row.down:
        left, right = (_x(minute, picture) for minute in row.down)
        out.append(
            f'<rect x="{left:.1f}" y="{y + 1}" width="{right - left:.1f}" height="{height - 2}"'
            ' fill="#f3e3e3"/>'
        )
        out.append(_text((left + right) / 2, y + height - 6, "no scheduler", "middle", "#b08080"))
    for n, line in enumerate(labels):
        mono = ' font-family="DejaVu Sans Mono, monospace"'
        out.append(_text(10, y + 17 + 14 * n, line, fill="#1c2733", more=mono))
    for mark in marks:
        x = _x(mark.at, picture)
        ink = _INKS[mark.decision]
        if mark.last > mark.at:
            end = _x(mark.last, picture)
            out.append(
                f'<line x1="{x:.1f}" y1="{y + 13}" x2="{end:.1f}" y2="{y + 13}"'
                f' stroke="{ink}" stroke-width="2"/>'
            )
            out.append(_text(end, y + 17, _GLYPHS[mark.decision], "middle", ink))
        out.append(_text(x, y + 17, _GLYPHS[mark.decision], "middle", ink))
    for bar in bars:
        color = _BLUE if row.blue and bar.run.startswith(row.blue) else _COLORS[bar.status]
        out.append(_bar(bar, color, picture, y + 22 + _LANE * lanes[bar.run]))
    return height, out


def _lanes(bars: list[Bar]) -> dict[str, int]:
    """Return, for each run, the first lane in which it crosses no other."""
    lanes: dict[str, int] = {}
    busy: list[float] = []
    for name in dict.fromkeys(bar.run for bar in bars):
        own = [bar for bar in bars if bar.run == name]
        begin, end = own[0].begin, own[-1].end
        lane = next((n for n, until in enumerate(busy) if until <= begin + 0.01), len(busy))
        busy[lane : lane + 1] = [end]
        lanes[name] = lane
    return lanes


def _bar(bar: Bar, color: str, picture: Picture, y: float) -> str:
    left, right = _x(bar.begin, picture), _x(min(bar.end, picture.minutes), picture)
    if bar.status == "waits":
        return (
            f'<line x1="{left:.1f}" y1="{y + 6}" x2="{right:.1f}" y2="{y + 6}"'
            ' stroke="#9ca3af" stroke-width="2" stroke-dasharray="2 3"/>'
        )
    return (
        f'<rect x="{left:.1f}" y="{y}" width="{max(right - left - 1, 2):.1f}" height="{_LANE - 3}"'
        f' rx="2" fill="{color}"/>'
    )


def _legend(used: set[str], y: float) -> tuple[list[str], float]:
    out = [f'<line x1="0" y1="{y}" x2="{_ALL}" y2="{y}" stroke="#d1d5db"/>']
    x = 10.0
    for decision, glyph in _GLYPHS.items():
        if decision in used:
            out.append(_text(x, y + 20, f"{glyph} slot {decision}", fill=_INKS[decision]))
            x += 105
    for status, color in _COLORS.items():
        if status not in used:
            continue
        if status == "waits":
            out.append(
                f'<line x1="{x}" y1="{y + 16}" x2="{x + 18}" y2="{y + 16}" stroke="#9ca3af"'
                ' stroke-width="2" stroke-dasharray="2 3"/>'
            )
        else:
            out.append(f'<rect x="{x}" y="{y + 10}" width="18" height="12" rx="2" fill="{color}"/>')
        out.append(_text(x + 23, y + 20, status, fill="#1c2733"))
        x += 95
    return out, 32


def _text(
    x: float, y: float, text: str, anchor: str = "start", fill: str = "#000", *, more: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{more}>'
        f"{escape(text)}</text>"
    )


# ------------------------------------------------------------------ the pictures


def job(**options: object) -> rs.Job:
    return rs.job(**{"name": "j", "schedule": rs.every("10m"), **options})(lambda: None)


def _overlap(label: str, **options: object) -> Row:
    return Row(label=label, jobs=[job(**options)], act=lambda order: Act(takes=m(25)))


def _catchup(label: str, **options: object) -> Row:
    return Row(
        label=label, jobs=[job(**options)], act=lambda order: Act(takes=m(1.5)), down=(15, 64)
    )


def _fails(times: int, takes: float = 3, event: Event = Event.FAIL) -> Callable[..., Act]:
    return lambda order: Act(
        takes=m(takes), event=event if order.attempt <= times else Event.SUCCEED
    )


def _by_hand(world: World) -> None:
    world.trigger("j")


def _retried(label: str, act: Callable[..., Act], **options: object) -> Row:
    declared = job(schedule=None, **options)
    return Row(label=label, jobs=[declared], act=act, story=[(1, _by_hand)])


def _two_jobs(label: str, *, priority: int) -> Row:
    jobs = [
        job(name=name, schedule=None, max_active=9, priority=p)
        for name, p in (("low", 0), ("high", priority))
    ]
    story: list[tuple[float, Story]] = [(1, lambda world: [world.trigger("low") for _ in range(4)])]
    story.append((3, lambda world: world.trigger("high")))
    return Row(
        label=label,
        jobs=jobs,
        story=story,
        window=1,
        act=lambda order: Act(wait=m(5), takes=m(4)),
        blue="high",
    )


def _night(label: str, day: str, expression: str) -> Row:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    declared = job(schedule=expression, timezone="Europe/Berlin")
    return Row(label=label, jobs=[declared], act=lambda order: Act(takes=m(6)), start=start)


def _berlin(at: datetime) -> str:
    local = at.astimezone(ZoneInfo("Europe/Berlin"))
    return f"{local:%H:%M %Z}"


def _nights(day: str) -> Picture:
    return Picture(
        rows=[
            _night(text, day, text)
            for text in ("30 2 * * *", "*/30 2 * * *", "0 2,3 * * *", "30 * * * *", "0 */2 * * *")
        ],
        minutes=300,
        tick=60,
        label=_berlin,
    )


_PAUSE: list[tuple[float, Story]] = [
    (15, lambda world: world.pause("j", note="broken feed")),
    (45, lambda world: world.resume("j")),
]

PICTURES = {
    "overlap": Picture(
        rows=[_overlap(f'overlap="{one}"', overlap=one) for one in rs.Overlap],
        minutes=70,
        tick=10,
    ),
    "max_active": Picture(
        rows=[
            _overlap(f'overlap="{one}"\nmax_active=2', overlap=one, max_active=2)
            for one in rs.Overlap
        ],
        minutes=70,
        tick=10,
    ),
    "catchup": Picture(
        rows=[
            _catchup('catchup="none"', catchup="none"),
            _catchup('catchup="latest"', catchup="latest"),
            _catchup('catchup="latest"\nmax_catchup=3', catchup="latest", max_catchup=3),
            _catchup('catchup="latest"\nmisfire_grace="2m"', misfire_grace="2m"),
            _catchup('catchup="all"', catchup="all"),
            _catchup('catchup="all"\nmax_catchup=3', catchup="all", max_catchup=3),
            _catchup('catchup="all"\nmisfire_grace="25m"', catchup="all", misfire_grace="25m"),
        ],
        minutes=80,
        tick=10,
    ),
    "pause": Picture(
        rows=[Row(label="paused from 00:15\nuntil 00:45", jobs=[job()], story=_PAUSE)],
        minutes=70,
        tick=10,
    ),
    "retries": Picture(
        rows=[
            _retried("retries=3", _fails(2), retries=3),
            _retried('Retry(3, delay="4m")', _fails(9), retries=rs.Retry(3, delay="4m")),
            _retried(
                'Retry(3, delay="2m",\n  backoff=3)',
                _fails(3),
                retries=rs.Retry(3, delay="2m", backoff=3),
            ),
            _retried(
                'Retry(3, delay="2m",\n  backoff=3,\n  max_delay="5m")',
                _fails(3),
                retries=rs.Retry(3, delay="2m", backoff=3, max_delay="5m"),
            ),
        ],
        minutes=50,
        tick=10,
    ),
    "timeouts": Picture(
        rows=[
            _retried(
                'timeout="10m"\nretries=1', _fails(1, 10, Event.TIME_OUT), timeout="10m", retries=1
            ),
            Row(
                label='queue_timeout="12m"\n(every run takes 20m)',
                jobs=[job(overlap="queue", queue_timeout="12m")],
                act=lambda order: Act(takes=m(20)),
            ),
        ],
        minutes=50,
        tick=10,
    ),
    "priority": Picture(
        rows=[
            _two_jobs("all the same\npriority", priority=0),
            _two_jobs("priority=10 for\nthe blue job", priority=10),
        ],
        minutes=35,
        tick=5,
    ),
    "spring": _nights("2026-03-29"),
    "autumn": _nights("2026-10-25"),
}

HERE = Path(__file__).parent

if __name__ == "__main__":
    for name, picture in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw(picture))
