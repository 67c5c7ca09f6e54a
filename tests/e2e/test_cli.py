"""The command line against a real Ray: one cluster from `up` to `down`, the commands in order."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psutil
import pytest
import ray

from raysched.cli import main
from raysched.cli.demo.cleanup import end, processes
from raysched.cluster.handle import SchedulerHandle
from raysched.errors import ClusterError
from support import until

pytestmark = pytest.mark.timeout(600)

JOBS = """
import sys
import time
import raysched as rs

@rs.job(schedule="0 6 * * *", timezone="America/New_York", tags=["etl"], params={"n": 1})
def add(n: int = 1, text: str = ""):
    rs.current().progress(1, 10)
    print("adding", n)
    return {"sum": n + 1, "text": text}

@rs.job(tags=["etl"])
def fails():
    print("[red]not red[/red] \\x1b[2J", file=sys.stderr)
    raise ValueError("on purpose [bold]")

@rs.job(retries=rs.Retry(1, delay="1s"))
def again():
    attempt = rs.current().attempt
    for n in range(3):
        print(f"{attempt}.{n}", flush=True)
    if attempt == 1:
        raise ValueError("once")

@rs.job
def steps():
    rs.current().progress(1, 2)
    print("half of it", flush=True)
    time.sleep(3)

@rs.job
def hangs():
    print("hanging", flush=True)
    time.sleep(3600)

@rs.job(num_gpus=64)
def huge(): ...

@rs.job
def where():
    import os
    return os.getpid()

@rs.job(num_gpus=1)
def where_on_a_gpu():
    import os
    return os.getpid()
"""


class Cli:
    """Runs the command line: in this process, connected once, or in one of its own.

    A command of its own spends two seconds on importing Ray, and there are dozens.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "RAYSCHED_HOME": str(home), "COLUMNS": "120"}
        self.env.pop("RAY_ADDRESS", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from raysched.cli.main import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.home.parent,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command here, check its exit code, and return its stdout."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = main.run(arguments)
        return self._checked(arguments, found, code, out.getvalue(), err.getvalue())

    def apart(self, *arguments: str, code: int = 0) -> str:
        """Run a command in a process of its own, check its exit code, and return its stdout."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return self._checked(arguments, process.returncode, code, out, err)

    def _checked(self, arguments, found: int, code: int, out: str, err: str) -> str:
        self.err = err
        assert found == code, f"{arguments}: {found}\n{out}\n{err}"
        assert "\x1b" not in out + self.err
        assert "Traceback" not in self.err
        return out

    def on_a_terminal(
        self, *arguments: str, until: str = "", types: str = "", **more: str
    ) -> tuple[str, int]:
        """Run a command on a terminal; once it shows `until`, type something, or interrupt it.

        Returns what it drew, and its exit code.
        """
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", "from raysched.cli.main import main; main()", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self.env, "TERM": "xterm", **more},
            cwd=self.home.parent,
        )
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError):  # as a terminal ends whose program has gone
            while piece := os.read(ours, 65_536):
                drawn += piece
                if until and until in drawn.decode(errors="replace"):
                    if types:
                        os.write(ours, types.encode())
                    else:
                        process.send_signal(signal.SIGINT)
                    until = ""
        os.close(ours)
        return drawn.decode(), process.wait(60)

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "all.py").write_text(JOBS)
    found = Cli(folder / "home")
    patched = pytest.MonkeyPatch()
    patched.setenv("RAYSCHED_HOME", str(found.home))
    patched.delenv("RAY_ADDRESS", raising=False)
    patched.chdir(folder)
    try:
        found.apart("up", "--num-cpus", "2", "--num-gpus", "1")
        assert "next: raysched deploy jobs/" in found.err
        yield found
    finally:
        end(found.home)
        patched.undo()


def test_up_again_changes_nothing(cli):
    epoch = cli.json("status")["epoch"]
    cli.apart("up")
    assert "up already" in cli.err
    assert cli.json("status")["epoch"] == epoch


def test_the_doctor_finds_a_healthy_cluster_healthy_and_a_readable_token_not(cli):
    found = {row["check"]: row for row in cli.json("doctor")}
    assert [row for row in found.values() if row["level"] in ("fail", "unknown")] == []
    for check in ("scheduler", "launcher", "versions", "clock", "state database", "nodes"):
        assert found[check]["level"] == "ok", found[check]
    token = cli.home / "ray.token"
    token.chmod(0o644)
    try:
        assert "fail     token" in cli("doctor", code=1)
        assert f"chmod 600 {token}" in cli("doctor", code=1)
    finally:
        token.chmod(0o600)


def test_a_scheduler_of_another_version_is_told_from_one_that_is_gone(cli):
    cli("status")  # joins the cluster
    handle = SchedulerHandle.find()
    for question in (("of_another_version",), ("tell",)):
        with pytest.raises(ClusterError) as raised:
            handle.call(*question)
        assert "raysched doctor" in raised.value.fix
    assert cli.json("status")["state"] == "running"


def test_a_csv_has_one_header_with_rows_and_without(cli):
    def header(*arguments: str, rows: int) -> str:
        first, *others = cli(*arguments, "-o", "csv").splitlines()
        assert len(others) == rows, arguments
        return first

    none = {command: header(command, rows=0) for command in ("jobs", "next")}
    file = cli.home.parent / "once.py"
    file.write_text('import raysched as rs\n\n@rs.job(schedule="@daily")\ndef once(): ...\n')
    cli("deploy", str(file))
    for command, found in none.items():
        assert found == header(command, rows=1)
    slots = ("backfill", "once", "--dry-run", "--from", "2026-01-01T12:00Z", "--to")
    assert header(*slots, "2026-01-01T13:00Z", rows=0) == header(
        *slots, "2026-01-02T12:00Z", rows=1
    )
    cli("delete", "once")


def test_a_plan_changes_nothing_and_a_deploy_does_what_it_said(cli):
    planned = cli.json("deploy", "--plan")
    assert cli.json("jobs") == []
    done = cli.json("deploy")
    assert {row["action"] for row in planned} == {row["action"] for row in done} == {"created"}
    assert [row["version"] for row in planned] == [row["version"] for row in done]
    assert "huge: job 'huge' asks num_gpus=64" in cli.err
    assert cli.err.count("asks num_gpus=64") == 1
    assert {row["action"] for row in cli.json("deploy", "--plan")} == {"unchanged"}


def test_a_worker_waits_for_the_next_run(cli):
    worker = psutil.Process(int(cli.json("trigger", "where", "--wait")["result_json"]))
    # Time enough for Ray to end the idle workers of a process that is gone, as `up` is.
    with pytest.raises(psutil.TimeoutExpired):
        worker.wait(7)


def test_the_memory_of_gpus_is_free_for_the_next_run(cli):
    run = "trigger", "where_on_a_gpu", "--wait"
    first, second = (int(cli.json(*run)["result_json"]) for _ in range(2))
    assert first != second
    until(lambda: not psutil.pid_exists(first))  # libraries hold it until their process ends


def test_a_plan_names_the_fields_that_change_and_a_prune_asks_first(cli):
    folder = cli.home.parent / "jobs"
    (folder / "more.py").write_text("import raysched as rs\n\n@rs.job\ndef more(): ...\n")
    cli("deploy")
    cli("pause", "more")
    (folder / "more.py").write_text(
        'import raysched as rs\n\n@rs.job(schedule="@daily")\ndef more(): ...\n'
    )
    (row,) = [row for row in cli.json("deploy", "--plan") if row["action"] != "unchanged"]
    assert (row["job"], row["action"], row["paused"]) == ("more", "updated", True)
    assert row["changes"][0] == {"field": "schedule", "before": "", "after": "cron @daily UTC"}
    assert "schedule" in cli("deploy", "--plan")
    cli("deploy")
    assert {row["job"]: row["paused"] for row in cli.json("jobs")}["more"]  # never unpaused
    (folder / "more.py").unlink()
    assert "deleted" in cli("deploy", "--plan", "--prune")
    cli.apart("deploy", "--prune", code=2)  # nobody to ask
    assert "1 job(s) would be deleted: more." in cli.err
    drawn, code = cli.on_a_terminal("deploy", "--prune", until="[y/N]", types="n\n")
    assert code == 1  # as nothing was deployed; nor was anything interrupted
    assert "nothing was changed." in drawn
    assert "interrupted" not in drawn
    assert "more" in cli("jobs")
    assert "deleted" in cli("deploy", "--prune", "--yes")
    assert "more" not in cli("jobs")


def test_status_and_jobs_show_what_is_deployed(cli):
    facts = cli.json("status")
    assert (facts["state"], facts["jobs"], facts["home"]) == ("running", 8, str(cli.home))
    assert " 06:00:00 E" in cli("jobs")
    assert cli.json("job", "add")["timezone"] == "America/New_York"
    cli("job", "addd", code=6)
    assert "'add'" in cli.err


def test_a_trigger_waits_for_the_result(cli):
    run_id = cli("trigger", "add", "-p", "n=41", "-p", "text=[b]x", "--wait").strip()
    assert 'result {"sum":42,"text":"[b]x"}' in cli.err
    assert cli.json("run", run_id)["status"] == "succeeded"
    assert "Z  adding 41" in cli("logs", run_id)


def test_a_wait_in_json_is_how_the_run_ended(cli):
    row = json.loads(cli("trigger", "add", "--wait", "-o", "json"))
    assert (row["status"], row["result_json"]) == ("succeeded", '{"sum":2,"text":""}')
    (made,) = json.loads(cli("trigger", "add", "-o", "json"))
    assert made["job"] == "add"


def test_on_a_terminal_a_wait_shows_the_runs_own_progress_and_its_last_line(cli):
    drawn, code = cli.on_a_terminal("trigger", "steps", "--wait")
    assert code == 0
    assert "1/2" in drawn
    assert "half of it" in drawn
    assert "succeeded in" in drawn


def test_on_a_terminal_a_table_is_drawn_in_place_and_no_color_is_obeyed(cli):
    drawn, code = cli.on_a_terminal("runs", "-w", until="Ctrl-C")
    assert code == 0
    assert "steps@" in drawn
    assert "Traceback" not in drawn
    assert "\x1b[32m" in cli.on_a_terminal("runs")[0]
    assert "\x1b[32m" not in cli.on_a_terminal("runs", NO_COLOR="1")[0]


def test_a_failed_run_exits_3_and_tells_why_and_where_to_look(cli):
    run_id = cli("trigger", "fails", "--wait", code=3).strip()
    assert "why: ValueError: on purpose [bold]" in cli.err
    assert f"raysched logs {run_id}" in cli.err
    assert 'raise ValueError("on purpose [bold]")' in cli("run", run_id)
    assert "[red]not red[/red] \\x1b[2J" in cli("logs", run_id)
    assert cli.json("runs", "--status", "failed")[0]["run_id"] == run_id
    assert "on purpose" in cli("explain", run_id)


def test_a_run_that_fits_no_node_exits_5_and_stays_queued(cli):
    run_id = cli("trigger", "huge", "--wait", code=5).strip()
    assert "the largest node offers 1" in cli.err
    assert cli.json("explain", run_id)["status"] == "queued"
    cli("down", code=2)  # it would be lost with the Ray that has it
    assert "1 run(s) wait in Ray for their start" in cli.err
    cli("cancel", run_id)
    cli("logs", run_id, "-f")  # until it is over
    assert cli.json("run", run_id)["status"] == "cancelled"


def test_a_timeout_exits_4_and_the_run_goes_on_until_it_is_cancelled(cli):
    run_id = cli("trigger", "hangs", "--wait", "--timeout", "1s", code=4).strip()
    follower = cli.start("logs", "hangs", "-f")
    assert follower.stdout.readline().endswith("hanging\n")  # it runs, and is followed
    cli("down", code=2)
    assert "run(s) are under way" in cli.err
    cli("cancel", "hangs")
    assert "is cancelled" in follower.communicate(timeout=120)[1]
    cli("cancel", run_id, code=2)
    assert "is cancelled already" in cli.err


def test_a_log_is_followed_across_retries_each_line_once(cli):
    run_id = cli("trigger", "again").strip()
    follower = cli.start("logs", run_id, "-f")
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0
    lines = [line for line in out.splitlines() if not line.startswith("---")]
    assert [line.partition("Z  ")[2] for line in lines] == [f"{a}.{n}" for a in "12" for n in "012"]
    assert "--- attempt 2" in out
    assert f"run {run_id} is succeeded" in err
    assert cli("logs", run_id, "--tail", "1").endswith("Z  2.2\n")
    assert "the last 1 of 6 lines" in cli.err


def test_what_is_watched_is_told_change_by_change_until_it_is_interrupted(cli):
    watcher = cli.start("runs", "-w", "--job", "hangs", "-o", "json")
    known = json.loads(watcher.stdout.readline())
    assert (known["job"], known["status"]) == ("hangs", "cancelled")
    run_id = cli("trigger", "hangs").strip()
    states = []
    while "running" not in states:
        told = json.loads(watcher.stdout.readline())
        assert told["run_id"] == run_id
        states.append(told["status"])
    follower = cli.start("logs", run_id, "-f")
    assert follower.stdout.readline().endswith("hanging\n")
    for process, code in ((watcher, 0), (follower, 130)):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
    assert f"run {run_id} goes on" in err
    cli("cancel", run_id)
    cli("logs", run_id, "-f")


def test_a_retry_makes_another_run_of_the_same_parameters(cli):
    first = cli.json("runs", "--job", "add")[0]
    again = cli("retry", first["run_id"]).strip()
    assert again != first["run_id"]
    row = cli.json("run", again)
    assert (row["origin"], row["params"]) == (first["run_id"], first["params"])


def test_pause_and_resume_by_name_by_tag_and_all(cli):
    def paused() -> list[str]:
        return [row["job"] for row in cli.json("jobs") if row["paused"]]

    told = cli("pause", "--tag", "etl", "--note", "[red]why\x1b")
    assert told.split() == ["add", "fails"]
    assert paused() == ["add", "fails"]
    assert "[red]why\\x1b" in cli("explain", "add")
    assert "paused" in cli("next", "--within", "48h")
    cli("resume", "add")
    assert paused() == ["fails"]
    cli("resume", "--all")
    assert paused() == []
    cli("pause", "nope", code=6)
    cli("pause", code=2)
    cli("pause", "--tag", "nope", code=6)


def test_what_is_not_there_exits_6_and_what_is_not_taken_2(cli):
    cli("trigger", "nope", code=6)
    cli("trigger", "add", "-p", "m=1", code=2)
    assert "'n'" in cli.err or "its parameters are n, text" in cli.err
    cli("run", "nope", code=6)
    cli.apart("logs", "nope", code=6)
    cli("cancel", "nope", code=6)
    cli("explain", "nope", code=6)
    cli("run", "a", code=2)  # several


def test_a_job_is_deleted_and_its_history_stays(cli):
    cli("delete", "fails")
    assert "fails" not in cli("jobs")
    assert cli.json("runs", "--job", "fails")


def test_down_that_is_forced_ends_what_runs_seals_the_history_and_the_files_answer(cli):
    busy = cli("trigger", "hangs").strip()
    until(lambda: cli.json("run", busy)["status"] == "running")
    runs = cli.json("runs")
    assert processes(cli.home)
    ray.shutdown()
    cli.apart("down", "--force")
    assert processes(cli.home) == []
    assert cli.json("runs") == runs
    assert "no scheduler is running" in cli.err
    assert cli.json("run", runs[0]["run_id"])["status"] == runs[0]["status"]
    assert "adding 41" in cli("logs", next(r["run_id"] for r in runs if "41" in r["params"]))
    cli("status", code=1)
    cli("down")
    assert "nothing is running" in cli.err
