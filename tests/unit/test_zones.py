"""Time zones: those of the IANA database by their names, and nothing else."""

from __future__ import annotations

from datetime import UTC

import pytest

from hostile import Hostile
from raysched.errors import InvalidSchedule
from raysched.spec.zones import zone_name


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_an_iana_zone_is_taken(zone):
    assert zone_name(zone) == zone


@pytest.mark.parametrize(
    "bad",
    [
        *("", "/etc/passwd", "../UTC", "US/../UTC", "./UTC", "Europe//Berlin", "Europe/Berlin/"),
        *(
            "localtime",
            "posixrules",
            "posix/UTC",
            "right/UTC",
            "EST5EDT ",
            " UTC",
            "UTC\n",
            "UTC\0",
        ),
        *(
            "europe/berlin",
            "Berlin",
            "GMT+25",
            "+01:00",
            "UTC+1",
            "x" * 10_000,
            "Ümlaut",
            "tzdata.zi",
        ),
        *(None, 0, True, b"UTC", UTC, ["UTC"], Hostile()),
    ],
)
def test_anything_else_is_no_time_zone(bad):
    with pytest.raises(InvalidSchedule, match="is not a time zone") as caught:
        zone_name(bad)
    assert "IANA" in caught.value.why
    assert 'timezone="' in caught.value.fix


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Europe/Berln", "Europe/Berlin"), ("America/New York", "America/New_York")],
)
def test_a_mistyped_zone_is_told_the_nearest_one(text, meant):
    with pytest.raises(InvalidSchedule) as caught:
        zone_name(text)
    assert f'timezone="{meant}"' in caught.value.fix


@pytest.mark.parametrize("text", ["CEST", "PST", "UTC+1", "GMT-5:30"])
def test_an_abbreviation_or_an_offset_is_not_told_a_zone_that_is_hours_away(text):
    with pytest.raises(InvalidSchedule) as caught:
        zone_name(text)
    assert caught.value.fix == 'write for example timezone="Europe/Berlin".'
