"""The command line without a cluster: what it prints, what it refuses, and with which code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from raysched import errors
from raysched.cli import main, output
from raysched.cli.options import params_of
from raysched.cli.table import Column
from raysched.show.text import harmless, harmless_json, instant, length, one_line
from raysched.spec.units import to_us
from raysched.store.history import History

ESC = "\x1b[31m"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))  # in the user's there may be a token of Ray's
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAYSCHED_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    return folder


def write(folder, name, text):
    (folder / name).write_text(f"import raysched as rs\n\n{text}")


GOOD = '@rs.job(schedule="0 6 * * *", timezone="America/New_York")\ndef good(): ...\n'


# --- weight


def test_help_loads_nothing_heavy():
    heavy = ["ray", "pandas", "pyarrow", "rich", "croniter", "sqlalchemy", "numpy", "psutil"]
    program = (
        "import sys\n"
        "from raysched.cli.main import run\n"
        "code = run(['--help'])\n"
        f"print('LOADED', [name for name in {heavy} if name in sys.modules], code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "LOADED [] 0" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("command", main._COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main.run([command, "--help"]) == 0
    assert f"Usage: raysched {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", main._COMMANDS)
def test_an_argument_stands_in_brackets_once(command, capsys):
    assert main.run([command, "--help"]) == 0
    assert "[[" not in capsys.readouterr().out


def test_no_command_prints_the_help(capsys):
    assert main.run([]) == 0
    told = capsys.readouterr().out
    assert "trigger" in told
    assert not [line for line in told.splitlines()[1:] if line.endswith("...")]  # none is cut


def test_the_version_is_printed(capsys):
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.count(".") == 2


# --- exit codes and errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ClusterError("x"), 1),
        (errors.NotRunning("x"), 1),
        (errors.StoreError("x"), 1),
        (ZeroDivisionError("x"), 1),
        (errors.InputError("x"), 2),
        (errors.InvalidSchedule("x"), 2),
        (errors.Conflict("x"), 2),
        (errors.Ambiguous("x"), 2),
        (errors.RunFailed("x"), 3),
        (errors.WaitTimeout("x"), 4),
        (errors.NotFound("x"), 6),
    ],
)
def test_an_error_has_the_exit_code_of_its_kind(error, code):
    assert main.exit_code(error) == code


def test_the_why_of_an_error_within_an_error_is_not_its_own():
    inner = errors.UnsupportedResult("a set.", fix="return a list.")
    assert str(errors.RunFailed("it failed.", why=str(inner), fix="look.")) == (
        "it failed.\n  why: a set.\n         fix: return a list.\n  fix: look."
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["cron"],
        ["cron", "* * * * *", "--count", "0"],
        ["runs", "--status", "nope"],
        ["runs", "--output", "yaml"],
        ["trigger", "a", "--timeout", "5s"],
        ["trigger", "a", "-p", "novalue"],
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_do(arguments, capsys):
    assert main.run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "Value error" not in told.err
    assert "  fix: " in told.err


def test_without_a_scheduler_a_change_exits_1_and_names_the_way_up(capsys):
    assert main.run(["pause", "a"]) == 1
    assert "fix: run `raysched up`" in capsys.readouterr().err


def test_what_reads_a_history_that_is_not_there_exits_6(capsys):
    for arguments in (["runs"], ["decisions"], ["logs", "a@b"], ["run", "a@b"]):
        assert main.run(arguments) == 6
        assert "there is no history at" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["runs", "decisions"])
def test_what_finds_nothing_says_how_far_back_it_looked(command, tmp_path, capsys):
    (tmp_path / "home").mkdir()
    assert main.run([command]) == 0
    assert "with --since 24h" in capsys.readouterr().err


def test_down_where_nothing_runs_is_a_success(capsys):
    assert main.run(["down"]) == 0
    assert "nothing is running" in capsys.readouterr().err


def test_status_where_nothing_runs_says_so_and_exits_1(capsys):
    assert main.run(["status", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "not running"


def test_an_internal_error_shows_no_traceback_unless_asked_for(monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(main, "app", broken)
    assert main.run([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: internal error: ZeroDivisionError: oops")
    assert "Traceback" not in told
    monkeypatch.setenv("RAYSCHED_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.run([])


def test_an_interruption_exits_130(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", interrupted)
    assert main.run([]) == 130


def test_an_error_is_three_lines_that_nothing_in_it_can_forge(capsys):
    output.say_error(
        errors.InputError(
            f"job '[bold]x[/bold]{ESC}' is refused.", why="a\nfix: rm -rf /", fix="[link=evil]do"
        )
    )
    assert capsys.readouterr().err == (
        "error: job '[bold]x[/bold]\\x1b[31m' is refused.\n"
        "  why: a\n"
        "       fix: rm -rf /\n"
        "  fix: [link=evil]do\n"
    )


# --- hostile text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 日本 🛫\ttab\n", "plain ünï 日本 🛫\ttab\n"),
        ("a\x1b]0;title\x07", "a\\x1b]0;title\\x07"),
        ("a\rb\x08", "a\\x0db\\x08"),
        ("windows\r\n", "windows\n"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("bidi \u202egnp.exe", "bidi \\u202egnp.exe"),
        ("zero\u200bwidth \U000e0041", "zero\\u200bwidth \\U000e0041"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_hostile_characters_become_visible(text, shown):
    assert harmless(text) == shown


def test_one_line_is_one_line():
    assert one_line(" a\n  b\tc \x1b") == "a b c \\x1b"


@pytest.mark.parametrize("text", ["\u202e", "\x9b", "\x7f", "\ud800", "\U000e0041", "a\u2028b"])
def test_json_keeps_its_meaning_when_made_harmless(text):
    safe = harmless_json(json.dumps({"a": text}, ensure_ascii=False))
    assert safe.isprintable()
    assert json.loads(safe) == {"a": text}


@pytest.mark.parametrize("form", output.Format)
def test_no_format_lets_an_escape_through(form, capsys):
    rows = [{"name": f"[red]{ESC}x[/red]", "tags": [ESC], "n": None}]
    columns = [Column("name", "name"), Column("tags", "tags", tight=True)]
    output.show_rows(rows, columns, form)
    output.show_facts(rows[0], form)
    output.show_text(rows[0]["name"])
    output.say(rows[0]["name"])
    output.say_next("job", rows[0]["name"])
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "[red]" in told.out


@pytest.mark.parametrize("command", [["runs"], ["decisions"], ["logs", "tick@1"]])
def test_a_csv_of_the_history_has_one_header_with_rows_and_without(command, tmp_path, capsys):
    day = datetime(2026, 11, 22, tzinfo=UTC)
    rows = {
        "runs": {"run_id": "tick@1", "created_at": to_us(day), "finished_at": to_us(day)},
        "decisions": {"job": "tick", "slot": to_us(day), "decided_at": to_us(day)},
        "logs": {"run_id": "tick@1", "attempt": 1, "line_no": 1, "ts": to_us(day)},
    }

    def header(count):
        options = [] if command[0] == "logs" else ["--since", "all"]
        assert main.run([*command, *options, "-o", "csv"]) == 0
        first, *others = capsys.readouterr().out.splitlines()
        assert len(others) == count
        return first

    history = History(tmp_path / "home")
    if command[0] == "logs":
        history.write("runs", day.date(), "000001-000001", [rows["runs"]])
    none = header(0)
    history.write(command[0], day.date(), "000001-000001", [rows[command[0]]])
    assert none == header(1)


def test_what_is_left_out_is_said(capsys):
    output.show_rows([{"a": 1}], [Column("a", "a")], output.Format.CSV, total=8312, of="runs")
    told = capsys.readouterr()
    assert told.out == "a\n1\n"
    assert told.err == "1 of 8,312 runs, use --all\n"


# --- parameters


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=3", 3),
        ("a=3.5", 3.5),
        ("a=true", True),
        ("a=null", None),
        ("a=[1, 2]", [1, 2]),
        ('a={"b": 1}', {"b": 1}),
        ('a="3"', "3"),
        ("a=JFK", "JFK"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=NaN", "NaN"),
        ("a=-Infinity", "-Infinity"),
        ("a=2013-02-09", "2013-02-09"),
        ("a=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_parameter_is_json_if_it_reads_as_json_else_text(pair, value):
    assert params_of([pair]) == {"a": value}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], ["a=1", "a=2"]])
def test_a_parameter_without_a_name_or_given_twice_is_refused(pairs):
    with pytest.raises(errors.InvalidParameter, match="refused"):
        params_of(pairs)


# --- cron


def test_cron_says_when_in_the_zone_asked_for(capsys):
    arguments = ["cron", "0 6 * * *", "--tz", "America/New_York", "--count", "3", "-o", "json"]
    assert main.run(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    assert all(" 06:00:00 E" in row["local"] for row in rows)
    assert all(row["slot"].endswith(("T10:00:00Z", "T11:00:00Z")) for row in rows)


def test_cron_takes_seconds_only_when_told(capsys):
    assert main.run(["cron", "*/15 * * * * *"]) == 2
    assert "seconds=True" in capsys.readouterr().err
    assert main.run(["cron", "*/15 * * * * *", "--seconds", "-o", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


@pytest.mark.parametrize("bad", ["0 0 31 2 *", "5-1 * * * *", "61 * * * *", "nonsense"])
def test_cron_says_what_is_wrong_with_an_expression(bad, capsys):
    assert main.run(["cron", bad]) == 2
    assert "is refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "files", "typed"),
    [
        ("15 6 * * *", ["a b", "load.py", "Wörk", ".hidden"], "'15 6 * * *'"),
        ("5 6 * * *", [], "'5 6 * * *'"),
        ("*/5 8-17 * * 1-5", ["load.py"], "'*/5 8-17 * * 1-5'"),
        ("0 30 6 * * * --seconds", ["a", "b"], "'0 30 6 * * *' --seconds"),
        ("0 7 * * * --tz Europe/Berlin", ["a"], "'0 7 * * *' --tz Europe/Berlin"),
        ("15 7 * * load.py", ["load.py", "b"], "'0 6 * * *'"),  # it cannot be told
    ],
)
def test_cron_that_a_shell_took_apart_is_given_back_in_quotes(line, files, typed, tmp_path, capsys):
    for name in files:
        (tmp_path / name).touch()
    shell = ["bash", "-c", f"printf '%s\\n' {line}"]
    words = subprocess.check_output(shell, text=True, cwd=tmp_path).splitlines()
    assert main.run(["cron", *words]) == 2
    told = capsys.readouterr().err
    assert "in no quotes" in told
    assert told.endswith(f"fix: quote it: raysched cron {typed}\n")


def test_cron_refuses_an_unknown_zone(capsys):
    assert main.run(["cron", "* * * * *", "--tz", "Europe/Berln"]) == 2
    assert "Europe/Berlin" in capsys.readouterr().err


# --- check


def test_check_shows_good_jobs_with_their_next_slot_and_zone(jobs, capsys):
    write(jobs, "good.py", GOOD)
    assert main.run(["check"]) == 0
    told = capsys.readouterr()
    assert " 06:00:00 E" in told.out
    assert "1 job(s), 0 fault(s)" in told.err
    assert "next: raysched deploy jobs" in told.err


def test_check_shows_every_fault_with_file_and_line_and_every_good_job(jobs, capsys):
    write(jobs, "good.py", GOOD)
    write(jobs, "syntax.py", "def broken(:\n")
    write(jobs, "declared.py", '@rs.job(schedule="61 * * * *")\ndef bad(): ...\n')
    write(jobs, "raises.py", f'raise ValueError("[red]{ESC}")\n')
    write(jobs, "quits.py", "raise SystemExit(0)\n")
    write(jobs, "twice.py", GOOD)
    assert main.run(["check"]) == 2
    told = capsys.readouterr()
    assert "good" in told.out
    for place in ("syntax.py:3", "declared.py:3", "raises.py:3", "quits.py:3", "twice.py:3"):
        assert f"jobs/{place}: " in told.err
    assert "\x1b" not in told.out + told.err


def test_check_in_json_is_one_document_whatever_a_file_prints(jobs, capsys):
    write(jobs, "good.py", f"print('noise')\n{GOOD}")
    write(jobs, "bad.py", "1 / 0\n")
    assert main.run(["check", "-o", "json"]) == 2
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["job"], good["fault"]) == ("good", None)
    assert bad["line"] == 3
    assert "ZeroDivisionError" in bad["fault"]
    assert good.keys() == bad.keys()


def test_check_of_nothing_exits_6(jobs, capsys):
    assert main.run(["check", "absent"]) == 6
    assert main.run(["check"]) == 6
    assert "no job is declared in jobs" in capsys.readouterr().err


def test_deploy_tells_all_faults_before_it_looks_for_a_cluster(jobs, capsys):
    write(jobs, "bad.py", "1 / 0\n")
    write(jobs, "worse.py", "def broken(:\n")
    assert main.run(["deploy"]) == 2
    told = capsys.readouterr().err
    assert "bad.py:3" in told
    assert "worse.py:3" in told
    assert "nothing was deployed" in told


# --- the demo


def test_the_demo_says_what_it_lacks(jobs, tmp_path, capsys):
    assert main.run(["demo", "--jobs", str(jobs)]) == 6
    assert "no flights_ingest.py" in capsys.readouterr().err
    write(jobs, "flights_ingest.py", GOOD)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main.run(["demo", "--jobs", str(jobs), "--home", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err


# --- readable figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0.00s"),
        (0.25, "0.25s"),
        (12.5, "12.5s"),
        (59.96, "1m"),
        (200, "3m 20s"),
        (7500, "2h 5m"),
        (86400 * 4 + 3600, "4d 1h"),
    ],
)
def test_lengths_are_readable(seconds, text):
    assert length(seconds) == text


def test_instants_bear_their_zone():
    moment = datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert instant(moment) == "2026-11-22 11:00:00 UTC"
    assert instant(moment, "America/New_York") == "2026-11-22 06:00:00 EST"
    assert instant(moment, "America/Sao_Paulo") == "2026-11-22 08:00:00 UTC-03"
    assert instant(None) == ""


# --- exit codes of every command, where nothing runs

NOTHING_RUNS = {
    "up": (["--num-cpus", "-1"], 2),
    "down": ([], 0),
    "status": ([], 1),
    "doctor": ([], 0),
    "check": ([], 6),
    "deploy": ([], 6),
    "delete": (["a"], 1),
    "jobs": ([], 1),
    "job": (["a"], 1),
    "pause": (["a"], 1),
    "resume": (["--all"], 1),
    "next": ([], 1),
    "cron": (["@daily"], 0),
    "trigger": (["a"], 1),
    "runs": ([], 6),
    "run": (["a@1"], 6),
    "logs": (["a@1"], 6),
    "decisions": ([], 6),
    "explain": (["a@1"], 6),
    "history": ([], 6),
    "cancel": (["a@1"], 1),
    "retry": (["a@1"], 1),
    "demo": (["--jobs", "absent"], 6),
    "bench": (["nope"], 2),
}


@pytest.mark.parametrize("command", NOTHING_RUNS)
def test_every_command_has_its_exit_code_where_nothing_runs(command, capsys):
    arguments, code = NOTHING_RUNS[command]
    assert main.run([command, *arguments]) == code
    told = capsys.readouterr().err
    assert code in (0, 1) or "fix: " in told
    assert "internal error" not in told


@pytest.mark.parametrize("command", main._COMMANDS)
def test_an_option_that_no_command_has_exits_2(command, capsys):
    assert main.run([command, "--bogus"]) == 2
    assert f"raysched {command} --help" in capsys.readouterr().err


def test_the_help_lists_every_command_once_under_headings(capsys):
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    for command in main._COMMANDS:
        assert len(re.findall(rf"^  {command}  ", text, re.MULTILINE)) == 1, command
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings[:3] == ["Options", "A cluster", "Jobs"]
    assert "More" not in headings


# --- warnings


def test_a_warning_is_told_without_the_line_of_our_code_that_gave_it(tmp_path):
    home = tmp_path / "home"
    (home / "runs").mkdir(parents=True)
    (home / "state.url").write_text(f"postgresql://me:secret@/x?host={tmp_path}")
    program = "from raysched.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "runs", "--home", str(home)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "warning: the state database does not answer" in done.stderr.splitlines()[1]
    assert "Warning:" not in done.stderr
    assert "secret" not in done.stderr
