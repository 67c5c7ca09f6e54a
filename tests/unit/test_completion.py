"""Shell completion, asked as the shells ask: names and ids from a home's files, without Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raysched.cli.completion import joined
from raysched.engine.engine import Engine
from raysched.engine.messages import TriggerRuns
from raysched.spec.job import job
from raysched.store import peek
from raysched.store.history import History
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore
from raysched.testing import World
from raysched.testing.clock import FakeClock

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROGRAM = "from raysched.cli.main import main; main()"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two jobs, a sealed run, a finished one and a queued one."""
    home = tmp_path_factory.mktemp("complete") / "home"
    home.mkdir()
    store = SqlStore(f"{home}/state.db", FakeClock(NOW))
    world = World(start=NOW, store=lambda _: store)
    world.start_scheduler()
    world.deploy(
        job(name="etl", tags=["daily", "flights"])(lambda: None), job(name="load")(lambda: None)
    )

    def run(request):
        message = TriggerRuns(job="etl", params=[{}], moment=world.clock.now(), request=request)
        (run_id,) = world.ask(message)
        return run_id

    sealed = run("a")
    world.run_until(world.clock.now() + MINUTE)
    Sealer(store, History(str(home)), world.clock).seal(everything=True)
    finished = run("b")
    world.run_until(world.clock.now() + MINUTE)
    world.kill_scheduler()
    queued = _queue(home, store)
    return Place(home, sealed, finished, queued)


def _queue(home, store):
    """A run that no launcher has taken: the scheduler died right after its trigger."""

    class Nobody:
        def attach(self, epoch): ...

    engine = Engine(clock=FakeClock(NOW), store=store, launcher=Nobody(), results=Nobody())
    message = TriggerRuns(job="load", params=[{}], moment=NOW, request="c")
    return engine.turn([message]).replies[0][0]


class Place:
    def __init__(self, home: Path, sealed: str, finished: str, queued: str) -> None:
        self.home, self.sealed, self.finished, self.queued = home, sealed, finished, queued
        self.env = {**os.environ, "RAYSCHED_HOME": str(home)}

    def bash(self, *words: str) -> list[str]:
        """The completions of the last word, as bash's protocol gives them."""
        asked = {"COMP_WORDS": "\n".join(("raysched", *words)), "COMP_CWORD": str(len(words))}
        return self._ask({"_RAYSCHED_COMPLETE": "complete_bash", **asked}).splitlines()

    def other(self, shell: str, line: str) -> str:
        asked = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        return self._ask({"_RAYSCHED_COMPLETE": f"complete_{shell}", **asked})

    def _ask(self, asked: dict[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**self.env, **asked},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout


def test_commands_names_tags_and_states_are_completed(home):
    assert "trigger" in home.bash("tri")
    assert home.bash("trigger", "") == ["etl", "load"]
    assert home.bash("job", "lo") == ["load"]
    assert home.bash("pause", "etl", "l") == ["load"]
    assert home.bash("pause", "--tag", "") == ["daily", "flights"]
    assert home.bash("runs", "--job", "e") == ["etl"]
    assert home.bash("runs", "--status", "f") == ["failed"]


def test_ids_of_runs_are_completed_from_the_database_and_from_files(home):
    assert home.bash("logs", "etl") == [home.finished, home.sealed]
    assert home.bash("run", "lo") == [home.queued]
    assert home.bash("cancel", "") == [home.queued]
    assert home.bash("retry", "") == [home.finished, home.sealed]
    assert home.bash("explain", "e") == ["etl"]
    assert home.bash("explain", home.queued[:-3]) == [home.queued]


def test_bash_gets_the_part_of_an_id_that_it_lacks(home):
    # As bash takes a word apart: at @ and at each colon.
    assert home.bash("logs", "load", "@", "2026-11-22T00", ":", "0") == [
        home.queued.removeprefix("load@2026-11-22T00:")
    ]
    assert home.bash("logs", "load", "@") == [home.queued.removeprefix("load@")]
    assert home.bash("logs", "load@2026-11-22T00:0") == [home.queued]  # with no such breaks


@pytest.mark.parametrize(
    ("words", "whole", "at", "known"),
    [
        (["r", "logs", "a"], ["r", "logs", "a"], 2, ""),
        (["r", "logs", ""], ["r", "logs", ""], 2, ""),
        (["r", "logs", "a", "@"], ["r", "logs", "a@"], 2, "a@"),
        (["r", "logs", "a", "@", "2T0", ":", "5"], ["r", "logs", "a@2T0:5"], 2, "a@2T0:"),
        (["r", "runs", "--job", "=", "e"], ["r", "runs", "--job=e"], 2, "--job="),
        (["r", "trigger", "a", "-p", "n", "=", "1", ""], ["r", "trigger", "a", "-p", "n=1", ""],
         5, ""),
    ],
)  # fmt: skip
def test_words_are_put_together_again(words, whole, at, known):
    assert joined(words, len(words) - 1) == (whole, at, known)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_for_bash_completes_in_a_bash(home, tmp_path):
    program = tmp_path / "raysched"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}\n")
    program.chmod(0o755)
    script = subprocess.run(
        [program, "--show-completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    line = "COMP_WORDS=(raysched logs load @ 2026-11-22T00 : 0); COMP_CWORD=6"
    asked = f'{line}\n_raysched_completion raysched\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    done = subprocess.run(
        ["bash", "--norc", "-c", script + "\n" + asked],
        env={**home.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [home.queued.removeprefix("load@2026-11-22T00:")]


def test_zsh_and_fish_are_told_whole_ids(home):
    assert home.queued.replace(":", "\\\\:") in home.other("zsh", "raysched cancel lo")
    assert home.other("fish", "raysched cancel lo").split() == [home.queued]


def test_a_home_that_is_named_in_the_line_is_the_one_that_is_asked(home, tmp_path):
    assert home.bash("trigger", "--home", str(tmp_path), "") == []
    assert home.bash("--home", str(tmp_path), "trigger", "") == []


def test_what_cannot_be_read_gives_no_hint_and_no_error(tmp_path):
    (tmp_path / "state.db").write_bytes(b"no database " * 100)
    (tmp_path / "runs" / "date=2026-11-22").mkdir(parents=True)
    (tmp_path / "runs" / "date=2026-11-22" / "a.parquet").write_bytes(b"PAR1")
    assert peek.job_names(tmp_path) == peek.job_names(tmp_path / "absent") == []
    assert peek.finished(tmp_path, "", 10) == peek.unfinished(tmp_path, "", 10) == []


def test_nothing_is_written_beside_a_database_that_nobody_has_open(home):
    before = sorted(path.name for path in home.home.iterdir())
    peek.job_names(home.home)
    assert sorted(path.name for path in home.home.iterdir()) == before


def test_what_a_shell_could_evaluate_is_never_offered(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("CREATE TABLE jobs (name TEXT)")
        names = ["good", "$(touch evil)", "a b", "a`b`", "a;b", "a\nb", "a'b", "\x1b[2J"]
        connection.executemany("INSERT INTO jobs VALUES (?)", [(name,) for name in names])
    assert Place(tmp_path, "", "", "").bash("trigger", "") == ["good"]


def test_completing_a_name_loads_nothing_heavy(home):
    heavy = ["ray", "pandas", "pyarrow", "rich", "sqlalchemy", "numpy"]
    program = (
        "import sys\nfrom raysched.cli.main import run\ntry:\n    run([])\nfinally:\n"
        f"    print('LOADED', [name for name in {heavy} if name in sys.modules])\n"
    )
    asked = {"COMP_WORDS": "raysched\ntrigger\n", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**home.env, "_RAYSCHED_COMPLETE": "complete_bash", **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["etl", "load", "LOADED []"]
