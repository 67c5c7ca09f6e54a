"""The benchmarks that need no Ray measure what they say, at any size."""

import re

import pytest

from raysched.bench import history, timetable


def test_the_history_of_a_few_runs_is_asked_for_its_last_days_failures():
    median, ratio, size = history.measure(None, runs=2_000)
    assert re.fullmatch(r"\d+ ms \(worst \d+\)", median.value)
    assert median.met is not None
    assert float(ratio.value.split()[0]) > 0
    assert size.value.startswith("2,000, ")
    assert size.value.endswith("; 40 found")


@pytest.mark.parametrize("jobs", [1, 300])
def test_a_timetable_of_a_few_jobs_is_held_and_woken_up(jobs):
    wake_up, memory, ready, size = timetable.measure(None, jobs=jobs)
    assert wake_up.met
    assert memory.value.endswith("bytes")
    assert ready.met
    assert size.value == f"{jobs:,}"
