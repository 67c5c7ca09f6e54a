"""The pictures of docs/policies.md show what the scheduler does today."""

from __future__ import annotations

import importlib.util
import re
import sys
from xml.etree import ElementTree

import pytest

import pages
import raysched as rs

_FOLDER = pages.ROOT / "docs" / "pictures"
_SPEC = importlib.util.spec_from_file_location("draw", _FOLDER / "draw.py")
draw = importlib.util.module_from_spec(_SPEC)
sys.modules["draw"] = draw
_SPEC.loader.exec_module(draw)


@pytest.mark.parametrize("name", draw.PICTURES)
def test_a_picture_is_what_the_scheduler_does_today(name):
    drawn = draw.draw(draw.PICTURES[name])
    ElementTree.fromstring(drawn)
    assert drawn == (_FOLDER / f"{name}.svg").read_text(), "python docs/pictures/draw.py"


def test_every_picture_is_shown_with_words_for_who_does_not_see_it():
    shown = re.findall(
        r"!\[(.+)\]\(pictures/(\w+)\.svg\)", (pages.ROOT / "docs/policies.md").read_text()
    )
    assert {name for _, name in shown} == set(draw.PICTURES)
    assert {path.stem for path in _FOLDER.glob("*.svg")} == set(draw.PICTURES)
    assert all(len(words) > 20 for words, _ in shown)


def test_what_the_words_below_the_pictures_say_is_in_them():
    def row(picture, label):
        rows = [row for row in draw.PICTURES[picture].rows if row.label == label]
        return draw.happen(rows[0], draw.PICTURES[picture].minutes)

    marks, bars = row("overlap", 'overlap="skip"')
    assert [mark.at for mark in marks if mark.decision == "skipped"] == [20, 30, 50, 60]
    assert next(round(bar.end) for bar in bars if bar.status == "succeeded") == 35
    marks, _ = row("catchup", 'catchup="latest"')
    assert [mark.decision for mark in marks if 15 < mark.at < 64] == ["coalesced"] * 4 + ["fired"]
    marks, bars = row("catchup", 'catchup="all"')
    assert min(bar.begin for bar in bars if bar.begin > 20) >= 64
    _, bars = row("retries", 'Retry(3, delay="4m")')
    assert [bar.status for bar in bars if bar.status != "waits"] == ["failed"] * 4
    _, bars = row("priority", "priority=10 for\nthe blue job")
    began = sorted((bar.begin, bar.run[:4]) for bar in bars if bar.status == "succeeded")
    assert [name for _, name in began] == ["low@", "high", "low@", "low@", "low@"]
    assert len(draw.PICTURES["overlap"].rows) == len(rs.Overlap)
