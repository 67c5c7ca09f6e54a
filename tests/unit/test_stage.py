"""Where a run is shown while it changes: what a terminal and a pipe get to see."""

from __future__ import annotations

import io
import sys

from rich.console import Console

from raysched.client import stage
from raysched.client.live import pace
from raysched.show.card import Bar, Card, Facts, Lines, Table
from raysched.show.terminal import drawn, heading

HOSTILE = "\x1b[2J[red]x[/red]\u202e\ud800"
CARD = Card(
    kind="Run",
    title="a@b",
    state="running",
    note="for 1s",
    parts=(
        Bar(done=3, total=10),
        Facts(facts={"reason": HOSTILE, "empty": ""}),
        Table(header=("a",), rows=[(HOSTILE,)], total=1, of="rows"),
        Lines(name="last lines", lines=[HOSTILE, "x" * 10_000]),
    ),
)


def text_of(card: Card) -> str:
    console = Console(file=io.StringIO(), markup=False, width=80, force_terminal=False)
    console.print(drawn(card))
    return console.file.getvalue()


def test_a_terminal_sees_the_same_card_and_no_control_characters():
    seen = text_of(CARD)
    for each in ("Run a@b running for 1s", "3 of 10 (30%)", "\\x1b[2J[red]x[/red]\\u202e\\ud800"):
        assert each in seen
    assert "\x1b" not in seen
    assert "empty" not in seen
    assert next(line for line in seen.splitlines() if "3 of 10" in line).startswith("━")
    assert max(map(len, seen.splitlines())) <= 80


def test_a_heading_is_one_line():
    card = Card(kind="Run", title="a@b", state="failed", note="x\ny\x1b")
    assert heading(card) == "Run a@b failed x y\\x1b"


def test_a_pipe_gets_a_line_for_each_state(capsys):
    place = stage.for_watching()
    for state in ("queued", "running", "running"):
        place.show(Card(kind="Run", title="a@b", state=state))
    place.close(Card(kind="Run", title="a@b", state="succeeded", note="in 1s"))
    assert capsys.readouterr().out.splitlines() == [
        "Run a@b queued",
        "Run a@b running",
        "Run a@b succeeded in 1s",
    ]


def test_waiting_in_a_pipe_shows_nothing(capsys):
    place = stage.for_waiting()
    place.show(CARD)
    place.close(CARD)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_keeps_nothing_but_the_last_card(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    place = stage.for_waiting()
    place.show(CARD)
    place.close(Card(kind="Run", title="a@b", state="succeeded"))
    assert out.getvalue() == ""
    assert err.getvalue().rstrip().endswith("succeeded\x1b[0m")
    assert "a@b" in err.getvalue()


def test_what_is_to_be_told_is_told_whole_on_standard_error(capsys):
    told = {"train": f"no node has {'x ' * 2000}free\nand it is late", "b": HOSTILE, "empty": ""}
    stage.tell(Card(kind="Deploy", title="", state="warning", parts=[Facts(facts=told)]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Deploy warning",
        f"  train: no node has {'x ' * 2000}free",
        "  train: and it is late",
        "  b: \\x1b[2J[red]x[/red]\\u202e\\ud800",
    ]


def test_a_long_run_is_looked_at_less_often():
    assert pace(0) == 0.4
    assert pace(30) == 1
    assert pace(3600) == 2
