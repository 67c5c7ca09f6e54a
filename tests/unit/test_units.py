"""Durations, sizes and instants: what is read, what is refused, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import Hostile
from raysched.errors import InputError, InvalidUnit
from raysched.spec.units import (
    ago,
    duration,
    from_us,
    instant,
    iso,
    shown,
    size,
    spell,
    to_us,
)

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("2d", timedelta(days=2)),
        ("1w2d3h4m5s6ms", timedelta(9, 5, 0, 6, 4, 3)),
        ("250ms", timedelta(milliseconds=250)),
        ("0.001ms", timedelta(microseconds=1)),
        ("1.5h", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("36500d", timedelta(days=36_500)),
        ("36499d23h59m59.999999s", timedelta(days=36_500) - timedelta(microseconds=1)),
        (timedelta(seconds=5), timedelta(seconds=5)),
        (pd.Timedelta("5s"), timedelta(seconds=5)),
    ],
)
def test_a_duration_with_its_units_is_read_exactly(text, length):
    assert duration(text) == length
    assert type(duration(text)) is timedelta


@pytest.mark.parametrize(
    "bad",
    [
        *("", "5", "1.5", "m5", "5M", "5 m", " 5m", "5m ", "5m\n", "1h 30m", "5min", "5 minutes"),
        *(
            "-5m",
            "+5m",
            "1e3s",
            ".5s",
            "5.s",
            "1,5s",
            "\u0665m",
            "5µs",
            "PT5M",
            "00:05:00",
            "inf",
            "nan",
        ),
        *("999999999999999s", "1.1234567s", "5m" * 100, "1m\0"),
        *(5, 1.5, True, None, b"5m", ["5m"], object(), float("nan")),
    ],
)
def test_what_does_not_spell_out_a_duration_is_refused(bad):
    with pytest.raises(InvalidUnit) as caught:
        duration(bad, of="timeout")
    assert caught.value.what.startswith(f"timeout={shown(bad)}")
    assert "unit" in caught.value.why
    assert 'timeout="30s"' in caught.value.fix


@pytest.mark.parametrize("bad", ["1m1h", "1s1m", "5m5m", "1h1h", "1ms1s"])
def test_units_out_of_order_or_twice_are_ambiguous(bad):
    with pytest.raises(InvalidUnit, match="ambiguous") as caught:
        duration(bad)
    assert "largest first" in caught.value.why


@pytest.mark.parametrize(
    "bad",
    [
        *("0s", "0h0m", "0.0001ms", "36501d", "999999999999w", "999999999999.999999d"),
        *(timedelta(0), timedelta(microseconds=-1), timedelta.max, timedelta.min),
    ],
)
def test_a_duration_of_nothing_or_beyond_a_century_is_out_of_range(bad):
    with pytest.raises(InvalidUnit, match="out of range") as caught:
        duration(bad, of="timeout")
    assert "above 0" in caught.value.why
    assert "timeout=" in caught.value.fix


def test_a_duration_of_nothing_is_read_where_it_makes_sense():
    assert duration("0s", zero=True) == duration(timedelta(0), zero=True) == timedelta(0)
    with pytest.raises(InvalidUnit, match="out of range"):
        duration(timedelta(microseconds=-1), zero=True)


@given(st.timedeltas(timedelta(0), timedelta(days=36_500)))
def test_a_spelled_duration_reads_back_as_itself(length):
    assert duration(spell(length), zero=True) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=14), "14d"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(microseconds=250), "0.25ms"),
    ],
)
def test_a_duration_is_spelled_as_a_user_would_write_it(length, text):
    assert spell(length) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("512MiB", 512 * 1024**2),
        ("8GB", 8 * 1000**3),
        ("8 GB", 8 * 1000**3),
        ("1.5GiB", 1536 * 1024**2),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("0B", 0),
        ("1PiB", 1024**5),
        ("9007199254740993B", 9007199254740993),
        ("1.1KiB", 1127),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_a_size_with_its_unit_is_read_exactly(text, number):
    assert size(text) == number


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            "512",
            "512M",
            "512m",
            "1 K",
            "1K",
            "1KB",
            "8gb",
            "8Gb",
            "8GIB",
            "8gib",
            "-1GB",
            "+1GB",
        ),
        *(
            "1e9B",
            "GB",
            "1  GB",
            " 1GB",
            "1GB ",
            "1GB\n",
            "1.1234567GB",
            "\u0668GB",
            "1,5GB",
            "9" * 19 + "B",
        ),
        *(True, False, 1.0, 1.5, float("nan"), None, b"8GB", ["8GB"], object()),
    ],
)
def test_a_size_that_is_ambiguous_is_refused(bad):
    with pytest.raises(InvalidUnit) as caught:
        size(bad, of="memory")
    assert caught.value.what == f"memory={shown(bad)} is not a size."
    assert "spelled out" in caught.value.why
    assert 'memory="512MiB"' in caught.value.fix


@pytest.mark.parametrize("bad", [-1, 2**63, 10**4000, "9999PiB", "9" * 18 + "GB"])
def test_a_size_beyond_a_machine_is_out_of_range(bad):
    with pytest.raises(InvalidUnit, match="out of range"):
        size(bad)


@given(st.integers(0, 10**18 - 1), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB", "PiB"]))
def test_a_size_is_a_multiple_of_its_unit(number, unit):
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
    if number * factor < 2**63:
        assert size(f"{number}{unit}") == number * factor
    else:
        with pytest.raises(InvalidUnit):
            size(f"{number}{unit}")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2027-01-01T00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T01:00:00.25+01:00", datetime(2027, 1, 1, 0, 0, 0, 250_000, UTC)),
        (
            datetime(2027, 1, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
        (pd.Timestamp("2027-01-01T00:00Z"), datetime(2027, 1, 1, tzinfo=UTC)),
        (
            datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
            datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
        ),
    ],
)
def test_an_instant_is_taken_to_utc(value, moment):
    assert instant(value) == moment
    assert type(instant(value)) is datetime
    assert instant(value).tzinfo is UTC


class _HostileZone(tzinfo):
    def utcoffset(self, moment):
        raise RuntimeError("boo")


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            "now",
            "tomorrow",
            "2027-13-01T00:00Z",
            "2027-02-30T00:00Z",
            "1700000000",
            "x" * 10_000,
        ),
        *("2027-01-01T00:00Z\ud800", "2027-01-01T00:00 Europe/Berlin", "2027-01-01T00:00Z\0"),
        *(0, 1.5, True, None, timedelta(1), NOW.date(), NOW.time(), b"2027-01-01T00:00Z", object()),
        datetime(2027, 1, 1, tzinfo=_HostileZone()),
    ],
)
def test_what_is_no_instant_is_refused(bad):
    with pytest.raises(InvalidUnit) as caught:
        instant(bad, of="start")
    assert caught.value.what == f"start={shown(bad)} is not an instant."
    assert "aware" in caught.value.why
    assert 'start="2027-01-01T00:00Z"' in caught.value.fix


@pytest.mark.parametrize("bad", ["2027-01-01", "2027-01-01T00:00", datetime(2027, 1, 1), pd.NaT])
def test_an_instant_without_a_zone_is_refused(bad):
    with pytest.raises(InvalidUnit, match="has no time zone") as caught:
        instant(bad)
    assert "each zone" in caught.value.why
    assert "tzinfo=" in caught.value.fix


@pytest.mark.parametrize(
    "bad",
    [
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-12:00",
        "1899-12-31T23:59Z",
        "2200-01-01T00:00Z",
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_an_instant_that_no_zone_can_be_reckoned_at_is_refused(bad):
    with pytest.raises(InvalidUnit, match="out of range") as caught:
        instant(bad)
    assert "1900 to 2199" in caught.value.why


@given(st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=st.timezones()))
def test_an_instant_survives_microseconds_and_iso(moment):
    assert from_us(to_us(moment)) == moment.astimezone(UTC)
    assert instant(iso(moment)) == moment.astimezone(UTC)


def test_since_is_a_length_of_time_or_an_instant():
    assert ago("24h", NOW) == NOW - timedelta(hours=24)
    assert ago(timedelta(days=7), NOW) == NOW - timedelta(days=7)
    assert ago("2026-11-01T00:00Z", NOW) == datetime(2026, 11, 1, tzinfo=UTC)
    for bad in ("24", "24hours", "yesterday", 24, None, "2026-11-01"):
        with pytest.raises(InputError):
            ago(bad, NOW)
    with pytest.raises(InputError) as caught:
        ago("yesterday", NOW)
    assert 'since="24h"' in caught.value.fix


class _Loud:
    def __repr__(self):
        return "one\ntwo\x1b[31m\u202e" + "x" * 10_000


def test_whatever_is_quoted_in_an_error_is_short_printable_and_on_one_line():
    assert shown(Hostile()) == "<Hostile>"
    for value in (
        _Loud(),
        "\n\x1b\u202e\ud800",
        "x" * 10_000,
        10**5000,
        pd.DataFrame({"a": [1, 2]}),
    ):
        text = shown(value)
        assert text.isprintable()
        assert text.isascii()
        assert len(text) <= 60
