"""Which run the beginning of an id means, from the files of a home and its database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from samples import START, TICK, finished, run, seal

import raysched as rs
from raysched.cli import main
from raysched.client.prefix import whole_id
from raysched.core.ports import Changes
from raysched.core.states import State
from raysched.errors import Ambiguous, NotFound
from raysched.store.archive import FileArchive

FIRST, SECOND = "tick@2026-03-01T12:00:00Z", "tick@2026-03-01T18:00:00Z"


@pytest.fixture
def archive(store, home):
    store.commit(finished(TICK, [FIRST]))
    seal(store, home)
    store.commit(finished(TICK, [SECOND]))
    return FileArchive(home)


@pytest.mark.parametrize("prefix", [FIRST, FIRST[:-1], "tick@2026-03-01T12"])
def test_the_beginning_of_one_id_alone_means_its_run(archive, prefix):
    assert whole_id(prefix, archive) == FIRST


def test_of_several_runs_the_error_names_those_that_may_be_meant(archive):
    with pytest.raises(Ambiguous, match="2 runs begin with 'tick@2026-03-01T1'") as caught:
        whole_id("tick@2026-03-01T1", archive)
    assert FIRST in caught.value.why
    assert SECOND in caught.value.why


@pytest.mark.parametrize("prefix", ["", "tock", "tick@2026-03-2", "tick@2026-02-30T", FIRST + "x"])
def test_what_begins_no_id_is_not_found(archive, prefix):
    with pytest.raises(NotFound, match="there is no run"):
        whole_id(prefix, archive, [])


def test_nothing_is_the_beginning_of_no_id_though_there_is_but_one_run(archive):
    with pytest.raises(NotFound):
        whole_id("", archive, ["tick@live"])


def test_what_the_scheduler_knows_counts_beside_what_the_files_hold(archive):
    assert whole_id("tick@l", archive, ["tick@live"]) == "tick@live"
    with pytest.raises(Ambiguous, match="2 runs"):
        whole_id("tick@2026-03-01T12", archive, [FIRST + "-live"])
    assert whole_id(FIRST, archive, [FIRST + "-live"]) == FIRST


def test_a_run_that_ended_months_after_its_instant_is_found_by_its_whole_id(store, home):
    late = "tick@2026-03-01T06:00:00Z"
    store.commit(finished(TICK, [late], end=START + timedelta(days=90)))
    seal(store, home)
    assert FileArchive(home).resolve(late) == []
    assert whole_id(late, FileArchive(home)) == late


@pytest.mark.parametrize("read", [rs.runs, rs.attempts, rs.logs])
def test_the_history_of_one_run_is_read_by_the_beginning_of_its_id(archive, home, read):
    for run_id in (FIRST, SECOND):
        assert set(read(home, run_id=run_id[:18]).run_id) == {run_id}
        assert set(read(home, run_id=run_id).run_id) == {run_id}
    with pytest.raises(Ambiguous):
        read(home, run_id="tick@")
    with pytest.raises(NotFound):
        read(home, run_id="tock@")


@pytest.mark.parametrize("command", ["run", "logs", "explain"])
def test_the_command_line_takes_ids_as_the_api_does(archive, home, command, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for prefix, code in {FIRST[:18]: 0, "tick@2026-03-01T1": 2, "tick@1999": 6}.items():
        assert main.run([command, prefix, "--home", str(home)]) == code
        told = capsys.readouterr()
        assert (FIRST in told.out + told.err) == (code != 6)


def test_a_run_without_a_row_is_found_and_has_none(store, home):
    live = run(TICK, "tick@live")
    store.commit(Changes(runs={"tick@live": replace(live, state=State.QUEUED)}))
    assert rs.logs(home, run_id="tick@live").empty
    assert rs.logs(home, run_id="tick@l").empty
    assert rs.runs(home, run_id="tick@l", since=datetime(2099, 1, 1, tzinfo=UTC)).empty
