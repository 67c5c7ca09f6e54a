"""Charts over frames of runs: ordinary Altair charts that survive whatever a frame holds."""

from __future__ import annotations

import json
import sys

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

import raysched as rs
from raysched.errors import InputError, InvalidSchedule, PackagesMissing
from raysched.store.reader import to_frame
from raysched.store.schema import to_table

KINDS = (rs.plot.timeline, rs.plot.grid, rs.plot.durations)


def frame(n: int = 40, jobs: int = 4, **changed) -> pd.DataFrame:
    """Return a frame as `client.runs()` gives it, a run each minute."""
    begin = pd.Timestamp("2026-11-22T06:00Z").value // 1000
    rows = [
        {
            "run_id": f"job-{i % jobs}@{i}",
            "job": f"job-{i % jobs}",
            "status": ("succeeded", "failed", "timed_out")[i % 3],
            "slot": begin + i * 60_000_000,
            "created_at": begin + i * 60_000_000,
            "started_at": begin + i * 60_000_000 + 1_000_000,
            "finished_at": begin + i * 60_000_000 + 31_000_000,
            "timezone": "America/New_York",
            "reason": "ValueError: boom" if i % 3 else None,
            **changed,
        }
        for i in range(n)
    ]
    return to_frame(to_table("runs", rows))


def drawn(chart: alt.Chart) -> dict:
    """Check that a chart is one that Vega compiles, and return its specification."""
    text = chart.to_json()
    assert vl_convert.vegalite_to_vega(text)["marks"]
    return json.loads(text)


def rows(spec: dict) -> list[dict]:
    (data,) = spec["datasets"].values() if spec.get("datasets") else ([],)
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_shows_runs_and_names_the_zone_of_their_schedule(kind):
    chart = kind(frame())
    assert isinstance(chart, alt.Chart)
    assert vl_convert.vegalite_to_png(chart.to_json()).startswith(b"\x89PNG")
    spec = drawn(chart)
    assert "America/New_York" in json.dumps(spec["title"])
    first = rows(spec)[0]
    assert first["began"] == "2026-11-22 01:00:01 EST"
    assert first["slot"] == "2026-11-22 01:00:00 EST"
    assert first["start"].startswith("2026-11-22T01:00:01")
    assert first["start"].endswith(("Z", "+00:00"))  # else it would be taken for the reader's own
    assert first["took"] == "30.0s"


def test_times_are_on_a_scale_that_no_browsers_zone_moves():
    for kind in (rs.plot.timeline, rs.plot.durations):
        assert drawn(kind(frame(3)))["encoding"]["x"]["scale"] == {"type": "utc"}


def test_the_zone_is_that_asked_for_or_that_of_the_frame_or_utc():
    mixed = frame()
    mixed["timezone"] = np.where(mixed.index % 2, "Asia/Tokyo", "Europe/Berlin")
    assert "UTC" in rs.plot.grid(mixed).title
    converted = mixed.assign(created_at=mixed["created_at"].dt.tz_convert("Asia/Tokyo"))
    assert "Asia/Tokyo" in rs.plot.grid(converted).title
    spec = drawn(rs.plot.timeline(mixed, timezone="Europe/Berlin"))
    assert rows(spec)[0]["began"] == "2026-11-22 07:00:01 CET"
    with pytest.raises(InvalidSchedule):
        rs.plot.grid(mixed, timezone="CEST")


@pytest.mark.parametrize("kind", KINDS)
def test_more_runs_than_altair_takes_are_cut_to_the_newest_and_it_is_said(kind):
    spec = drawn(kind(frame(6000, jobs=150)))
    assert "of 6,000 runs, 100 of 150 jobs" in spec["title"][1]
    data = rows(spec)
    assert len(data) <= 5000
    assert data[-1]["run"] == "job-149@5999"
    assert len({each["job"] for each in data}) == 100
    kind(frame(5001, jobs=2)).to_json()  # Altair would refuse one more


def test_a_grid_draws_the_last_runs_of_each_job():
    spec = drawn(rs.plot.grid(frame(300, jobs=2)))
    assert len(rows(spec)) == 120
    assert "the newest 120 of 300 runs" in spec["title"][1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_frame_gives_an_empty_chart(kind):
    assert "there are none" in drawn(kind(frame(0)))["title"]
    assert "there are none" in drawn(kind(pd.DataFrame(columns=list(frame(1)))))["title"]


@pytest.mark.parametrize("kind", KINDS)
def test_unfinished_runs_reach_to_now(kind):
    ago = (pd.Timestamp.now("UTC") - pd.Timedelta("10s")).value // 1000
    waits = frame(1, status="queued", started_at=None, finished_at=None, created_at=ago)
    runs = frame(1, status="running", started_at=ago, finished_at=None, created_at=ago)
    data = {each["status"]: each for each in rows(drawn(kind(pd.concat([waits, runs]))))}
    assert 10 <= data["running"]["seconds"] < 60
    if kind is rs.plot.durations:
        assert list(data) == ["running"]
    else:
        assert data["queued"]["began"] == "not yet"


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_other_makes_are_drawn_as_well(kind):
    plain = frame()
    for changed in (
        plain.astype({"job": "category", "status": "category"}),
        plain.astype({"job": object, "status": object}),
        plain.convert_dtypes(dtype_backend="pyarrow"),
        plain.assign(**{c: plain[c].dt.tz_localize(None) for c in ("created_at", "started_at")}),
        plain.assign(**{c: plain[c].dt.as_unit("ns") for c in ("created_at", "finished_at")}),
        plain.set_index("started_at", drop=False),
    ):
        assert len(rows(drawn(kind(changed)))) == len(plain)


HOSTILE = "</script><script>alert(1)</script>\x1b[2J\u202e datum['x'] .a[0]:Q \\ \" ' {{x}}"


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_nothing_but_data(kind):
    runs = frame(6, jobs=1).assign(job=HOSTILE * 30, status=HOSTILE, reason=HOSTILE, run_id=HOSTILE)
    chart = kind(runs)
    spec = drawn(chart)
    names = json.dumps({name: part for name, part in spec.items() if name != "datasets"})
    # It may stand in the legend's domain, and nowhere else in the grammar.
    assert names.count("alert(1)") <= 3
    assert "\x1b" not in chart.to_json()
    assert "</script><" not in chart.to_html().replace(" ", "")
    assert all(len(each["job"]) < 300 for each in rows(spec))


def test_what_is_no_frame_of_runs_is_refused():
    with pytest.raises(InputError, match="frames of runs") as raised:
        rs.plot.grid(frame().drop(columns="slot"))
    assert "'slot'" in raised.value.why
    with pytest.raises(InputError, match="frames of runs"):
        rs.plot.timeline([1, 2])


def test_without_altair_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(PackagesMissing, match="Altair") as raised:
        rs.plot.grid(frame())
    assert "raysched[plot]" in raised.value.fix
