"""`simulate` answers what a timetable does over years, in seconds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from raysched.core.states import Event
from raysched.errors import InputError
from raysched.spec.job import job
from raysched.spec.policies import Retry
from raysched.testing import Act, simulate


def a_job(name, **options):
    return job(name=name, **options)(lambda: None)


def test_three_years_of_a_daily_and_a_four_hourly_job_pass_in_seconds():
    jobs = [
        a_job("daily", schedule="30 2 * * *", timezone="America/New_York"),
        a_job("often", schedule="0 */4 * * *"),
    ]
    left = simulate(jobs, "2026-01-01T00:00Z", "2029-01-01T00:00Z")
    days = 3 * 365 + 1
    assert left.decisions.groupby(["job", "decision"]).size().to_dict() == {
        ("daily", "fired"): days,
        # The slot of the last instant is decided, and its run has no time left to end.
        ("often", "fired"): 6 * days,
    }
    assert left.runs.groupby(["job", "status"]).size().to_dict() == {
        ("daily", "succeeded"): days,
        ("often", "succeeded"): 6 * days - 1,
    }
    daily = left.decisions[left.decisions["job"] == "daily"]["slot"]
    local = daily.dt.tz_convert("America/New_York")
    assert local.dt.date.is_unique
    assert set(local.dt.strftime("%H:%M")) == {"02:30", "03:00"}
    assert (local.dt.hour == 3).sum() == 3


def test_a_script_says_how_long_attempts_take_and_how_they_end():
    flaky = a_job("flaky", schedule="@daily", retries=Retry(1, delay="5m"))
    left = simulate(
        [flaky],
        "2026-01-01T00:00Z",
        "2026-01-08T12:00Z",
        script=lambda order: Act(
            takes=timedelta(hours=1), event=Event.FAIL if order.attempt == 1 else Event.SUCCEED
        ),
    )
    assert list(left.runs["attempts"]) == [2] * 7
    assert set(left.runs["status"]) == {"succeeded"}
    assert left.runs["duration_s"].min() > 2 * 3600 + 300


def test_the_same_simulation_gives_the_same_frames():
    frames = [
        simulate([a_job("h", schedule="H * * * *")], "2026-01-01T00:00Z", "2026-01-03T00:00Z")
        for _ in range(2)
    ]
    assert frames[0].decisions.equals(frames[1].decisions)
    assert frames[0].runs.equals(frames[1].runs)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-01T00:00Z", "2026-01-01T00:00Z"),
        ("2026-01-02T00:00Z", "2026-01-01T00:00Z"),
        ("2026-01-01", "2026-01-02T00:00Z"),
        ("2026-01-01T00:00Z", "soon"),
    ],
)
def test_a_simulation_has_an_end_after_its_start(start, end):
    with pytest.raises(InputError):
        simulate([], start, end)
