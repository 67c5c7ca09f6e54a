"""Charts of runs, over the frames of `client.runs()` and `rs.runs()`: ordinary Altair charts.

Law: a chart shows wall-clock time of one zone and names it; what it leaves out stands in
its title. Text from a frame is data, cut and harmless, and never part of a chart's grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from raysched.core.states import State
from raysched.errors import InputError, InvalidSchedule, PackagesMissing
from raysched.show.text import instant, length, one_line, plain
from raysched.spec.zones import zone_name

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["durations", "grid", "timeline"]

MOST_RUNS = 5_000
"""How many runs one chart draws, the newest: as many as Altair takes."""

MOST_JOBS = 100
"""How many jobs have a row in one chart, those with the newest runs."""

MOST_BACK = 60
"""How many runs of each job a grid draws."""

_COLORED = 10  # jobs that colours still tell apart
_COLORS: Mapping[str, str] = {
    State.SUCCEEDED: "#2e9d4f",
    State.FAILED: "#d9453d",
    State.TIMED_OUT: "#9c2a1d",
    State.LOST: "#7a3b8f",
    State.CANCELLED: "#7f7f7f",
    State.SKIPPED: "#bdbdbd",
    State.RUNNING: "#2f7fd1",
    State.QUEUED: "#d9a521",
    State.RETRYING: "#e0762b",
}
_OTHER = "#000000"
_SHAPES: Mapping[str, str] = {
    State.FAILED: "cross",
    State.TIMED_OUT: "triangle-up",
    State.LOST: "triangle-down",
    State.CANCELLED: "square",
    State.RUNNING: "diamond",
}
_NEEDED = ("run_id", "job", "status", "slot", "created_at", "started_at", "finished_at")
_TOLD = ("run", "status", "slot", "began", "took", "why")
_LONGEST = 200


def timeline(runs: pd.DataFrame, *, timezone: str | None = None) -> alt.Chart:
    """Return when runs ran: a row for each job, a bar for each run, coloured by its state.

    A run under way reaches to now, one that waits begins where it was made.

    Raises:
        PackagesMissing: Altair is not installed.
        InputError: not a frame of runs.
        InvalidSchedule: no such time zone.
    """
    vega = _altair()
    drawn = _drawn(runs, timezone, datetime.now(UTC))
    bars = vega.Chart(drawn.data).mark_bar(height=12, strokeWidth=1, opacity=0.85)
    chart: alt.Chart = bars.encode(
        x=_time(vega, "start", drawn.zone),
        x2="end:T",
        y=vega.Y("job:N", title=None),
        color=_states(vega, drawn.data),
        stroke=vega.Stroke("status:N", title="state", scale=_scale(vega, drawn.data)),
        tooltip=_tooltip(vega),
    ).properties(title=drawn.title("Runs"), width=720, height=vega.Step(20))
    return chart


def grid(runs: pd.DataFrame, *, timezone: str | None = None) -> alt.Chart:
    """Return how the last runs of each job ended: a row for each job, a cell for each run.

    The newest is at the right; raises as `timeline` does.
    """
    vega = _altair()
    drawn = _drawn(runs, timezone, datetime.now(UTC))
    data = drawn.data.assign(back=drawn.data.groupby("job").cumcount(ascending=False))
    kept = data[data["back"] < MOST_BACK]
    cells = vega.Chart(kept).mark_rect(cornerRadius=2, stroke="#8888", strokeWidth=0.5)
    chart: alt.Chart = cells.encode(
        x=vega.X("back:O", sort="descending", title="runs back", axis=vega.Axis(labelAngle=0)),
        y=vega.Y("job:N", title=None),
        color=_states(vega, kept),
        tooltip=_tooltip(vega),
    ).properties(
        title=drawn.title("Last runs", shown=len(kept)), width=vega.Step(14), height=vega.Step(18)
    )
    return chart


def durations(runs: pd.DataFrame, *, timezone: str | None = None) -> alt.Chart:
    """Return how long runs took, over time: a point for each run that began.

    Colour tells the job, or the state where the jobs are many; raises as `timeline` does.
    """
    vega = _altair()
    drawn = _drawn(runs, timezone, datetime.now(UTC), begun=True)
    states = _states(vega, drawn.data)
    told: dict[str, Any] = {"color": states}
    if drawn.data["job"].nunique() <= _COLORED:
        shapes = _scale(vega, drawn.data, _SHAPES, "circle")
        told = {"color": vega.Color("job:N"), "shape": vega.Shape("status:N", scale=shapes)}
    points = vega.Chart(drawn.data).mark_point(filled=True, size=45, opacity=0.75)
    chart: alt.Chart = points.encode(
        x=_time(vega, "start", drawn.zone),
        y=vega.Y("seconds:Q", title="duration, s"),
        tooltip=_tooltip(vega),
        **told,
    ).properties(title=drawn.title("Durations"), width=720, height=300)
    return chart


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a chart draws: plain columns, the zone of their times, how many runs there are."""

    data: pd.DataFrame
    zone: str
    runs: int
    jobs: int

    def title(self, what: str, *, shown: int | None = None) -> str | list[str]:
        """Return the chart's title, and below it what was left out."""
        drawn, jobs = len(self.data) if shown is None else shown, self.data["job"].nunique()
        first = f"{what} ({self.zone})" if self.runs else f"{what}: there are none"
        left_out = []
        if drawn < self.runs:
            left_out.append(f"the newest {drawn:,} of {self.runs:,} runs")
        if jobs < self.jobs:
            left_out.append(f"{jobs:,} of {self.jobs:,} jobs")
        return [first, ", ".join(left_out)] if left_out else first


def _drawn(
    runs: pd.DataFrame, timezone: str | None, now: datetime, *, begun: bool = False
) -> _Drawn:
    """Return the newest runs of a frame as a chart draws them, oldest first."""
    import pandas as pd

    _check(runs)
    zone = _zone(runs, timezone)
    times = {name: _instants(runs[name]) for name in _NEEDED[3:]}
    found = pd.DataFrame({**{name: runs[name].astype(object) for name in _NEEDED[:3]}, **times})
    found["reason"] = runs["reason"].astype(object) if "reason" in runs else None
    found["made"] = found["started_at"].fillna(found["created_at"])
    found = found[found["started_at" if begun else "made"].notna()].sort_values("made")
    newest = found["job"].drop_duplicates(keep="last").tail(MOST_JOBS)
    kept = found[found["job"].isin(newest)].tail(MOST_RUNS)
    return _Drawn(_columns(kept, zone, now), zone, len(found), found["job"].nunique())


def _columns(found: pd.DataFrame, zone: str, now: datetime) -> pd.DataFrame:
    """Return the columns of a chart's data: texts, wall-clock times, seconds."""
    import pandas as pd

    found = found.reset_index(drop=True)
    # Of a run that ended unstarted the end, of one that is not over now.
    over = found["status"].isin([str(state) for state in State if state.final])
    end = found["finished_at"].where(found["finished_at"].notna(), found["made"])
    end = end.where(over, pd.Timestamp(now)).clip(lower=found["made"])
    seconds = (end - found["made"]).dt.total_seconds()
    rows = zip(found["started_at"], found["slot"], seconds, found["reason"], strict=True)
    told = [
        (
            instant(plain(began), zone) or "not yet",
            instant(plain(slot), zone) or "none",
            length(took),
            _text(why),
        )
        for began, slot, took, why in rows
    ]
    texts = pd.DataFrame(told, columns=["began", "slot", "took", "why"], dtype=object)
    return texts.assign(
        run=[_text(each) for each in found["run_id"]],
        job=[_text(each) for each in found["job"]],
        status=[_text(each) for each in found["status"]],
        start=_wall_clock(found["made"], zone),
        end=_wall_clock(end, zone),
        seconds=seconds.to_numpy(dtype=float),
    )


def _check(runs: object) -> None:
    import pandas as pd

    missing = (
        [name for name in _NEEDED if name not in runs] if isinstance(runs, pd.DataFrame) else []
    )
    if not isinstance(runs, pd.DataFrame) or missing:
        raise InputError(
            "rs.plot draws frames of runs.",
            why=f"this one has no column {missing[0]!r}."
            if missing
            else f"this is of type {type(runs).__name__}.",
            fix="pass what client.runs() or rs.runs() returns, with all of its columns.",
        )


def _zone(runs: pd.DataFrame, timezone: str | None) -> str:
    """Return the zone asked for, or that of the frame's times, or that of all its jobs, or UTC."""
    if timezone is not None:
        return zone_name(timezone)
    converted = str(getattr(runs["created_at"].dtype, "tz", None))
    if converted != "UTC":
        with suppress(InvalidSchedule):  # a bare offset, or none
            return zone_name(converted)
    named = set(runs["timezone"].dropna()) if "timezone" in runs else set()
    return zone_name(named.pop()) if len(named) == 1 else "UTC"


def _instants(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    # A naive one is taken for UTC. Finer than microseconds nothing here can tell.
    return pd.to_datetime(column, utc=True).dt.as_unit("us")


def _wall_clock(column: pd.Series[Any], zone: str) -> Any:
    """Return what clocks in a zone show, told as UTC: Vega knows no zones but that."""
    return column.dt.tz_convert(zone).dt.tz_localize(None).dt.tz_localize("UTC")


def _text(value: object) -> str:
    """Return a cell as a chart may bear it.

    Altair puts a chart's data into a <script> as they are: no text may end that.
    """
    found = plain(value)
    return "" if found is None else one_line(str(found)[:_LONGEST]).replace("<", "\u2039")


def _time(alt: Any, name: str, zone: str) -> Any:
    axis = alt.Axis(labelOverlap=True, format="%m-%d %H:%M", labelAngle=0)
    return alt.X(f"{name}:T", title=f"time, {zone}", scale=alt.Scale(type="utc"), axis=axis)


def _states(alt: Any, data: pd.DataFrame) -> Any:
    return alt.Color("status:N", title="state", scale=_scale(alt, data))


def _scale(
    alt: Any, data: pd.DataFrame, looks: Mapping[str, str] = _COLORS, other: str = _OTHER
) -> Any:
    """Return the looks of the states that occur, in the order of a run's life."""
    found = set(data["status"])
    known = [str(state) for state in State if state in found]
    domain = [*known, *sorted(found - set(known))]
    return alt.Scale(domain=domain, range=[looks.get(each, other) for each in domain])


def _tooltip(alt: Any) -> list[Any]:
    return [alt.Tooltip(f"{name}:N") for name in _TOLD]


def _altair() -> Any:
    try:
        return import_module("altair")
    except ImportError:
        raise PackagesMissing(
            "Altair is not installed, which draws the charts.",
            why="it is not needed for anything else.",
            fix="pip install 'raysched[plot]'",
        ) from None
