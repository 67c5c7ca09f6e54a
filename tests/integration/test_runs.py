"""What a run is, on a real Ray: its value, its output, its end, its history."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import raysched as rs
from raysched.cluster import local
from raysched.cluster.patience import hurry
from raysched.errors import (
    Ambiguous,
    ClusterError,
    Conflict,
    InvalidParameter,
    NotFound,
    NotPicklable,
    RunFailed,
    WaitTimeout,
)
from support import kill_actor, until


def finished(client, job, /, **params):
    """Deploy a job, trigger it, and return its run once it is over."""
    client.deploy(job)
    return client.trigger(job, **params).wait("60s")


def lines(client, run):
    """Return the run's output as (stream, line) pairs."""
    frame = client.logs(run.id)
    return list(zip(frame.stream, frame.line, strict=True))


def test_a_run_returns_its_value_with_its_parameters_and_defaults(client):
    @rs.job(params={"b": 2})
    def add(a, b=5, c=10):
        return {"sum": a + b + c}

    run = finished(client, add, a=1)
    assert run.status == "succeeded"
    assert run.result() == {"sum": 13}
    row = client.runs().set_index("run_id").loc[run.id]
    assert row.params == '{"b": 2, "a": 1}'
    assert row.duration_s < 5
    assert row.peak_memory_bytes > 1_000_000


def test_a_data_frame_lands_in_parquet_and_comes_back_equal(client):
    frame = pd.DataFrame({"n": [1, 2], "city": ["Łódź", "NYC"]})

    @rs.job
    def table():
        return frame

    run = finished(client, table)
    pd.testing.assert_frame_equal(run.result(), frame)
    path = client.home / run.details()["result_path"]
    assert pd.read_parquet(path).n.sum() == 3
    assert run.details()["result_rows"] == 2


def test_output_of_prints_c_code_and_child_processes_is_captured_line_by_line(client):
    @rs.job
    def talk():
        print("from python", flush=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"from c")
        libc.fflush(None)
        subprocess.run(["sh", "-c", "echo from a child; echo oops >&2"], check=True)
        sys.stdout.write("no newline")

    run = finished(client, talk)
    assert sorted(lines(client, run)) == [
        ("stderr", "oops"),
        ("stdout", "from a child"),
        ("stdout", "from c"),
        ("stdout", "from python"),
        ("stdout", "no newline"),
    ]


def test_a_run_knows_itself(client):
    @rs.job
    def who():
        me = rs.current()
        me.metric("rows", 42)
        return [me.run_id, me.attempt, me.slot]

    run = finished(client, who)
    assert run.result() == [run.id, 1, None]
    assert client.runs().set_index("run_id").loc[run.id].metrics == '{"rows": 42.0}'


def test_an_exception_fails_the_run_with_its_traceback(client):
    @rs.job
    def divide(by):
        return 1 / by

    run = finished(client, divide, by=0)
    with pytest.raises(RunFailed, match="failed") as raised:
        run.result()
    assert "return 1 / by" in raised.value.__notes__[0]  # what a notebook shows below the error
    row = run.details()
    assert row["error_type"] == "ZeroDivisionError"
    assert row["reason"] == "ZeroDivisionError: division by zero"
    assert "return 1 / by" in client.attempts(run.id).traceback[0]


def hostile_exits():
    def leave():
        raise SystemExit(0)

    def vanish():
        print("last words", flush=True)
        os._exit(0)

    def interrupt():
        raise KeyboardInterrupt

    def crash():
        print("last words", flush=True)
        ctypes.string_at(0)

    def be_killed():
        print("last words", flush=True)
        os.kill(os.getpid(), 9)

    return {
        leave: ("failed", "SystemExit"),
        interrupt: ("failed", "KeyboardInterrupt"),
        vanish: ("lost", "WorkerCrashedError"),
        crash: ("lost", "WorkerCrashedError"),
        be_killed: ("lost", "WorkerCrashedError"),
    }


@pytest.mark.parametrize(
    ("function", "expected"), hostile_exits().items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_only_a_return_is_a_success(client, function, expected):
    run = finished(client, rs.job(function))
    row = run.details()
    assert (row["status"], row["error_type"]) == expected
    assert row["reason"]
    if expected[0] == "lost":
        assert ("stdout", "last words") in lines(client, run)


def cyclic():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (threading.Lock, "lock"),
        (lambda: (n for n in range(3)), "generator"),
        (cyclic, "holds itself"),
        (lambda: {1: 2}, "key"),
        (lambda: float("nan"), "nan"),
        (lambda: b"bytes", "bytes"),
    ],
    ids=["lock", "generator", "cycle", "int key", "nan", "bytes"],
)
def test_a_result_that_the_history_cannot_hold_fails_the_run_and_names_it(client, make, word):
    @rs.job
    def strange():
        return make()

    row = finished(client, strange).details()
    assert row["status"] == "failed"
    assert row["error_type"] == "UnsupportedResult"
    assert word in row["error_message"].lower()
    assert "fix:" in row["error_message"]


def test_a_timeout_ends_the_run_and_its_children(client, marks):
    path = marks.path

    @rs.job(timeout="1s")
    def endless():
        child = subprocess.Popen(["setsid", "sleep", "1000"])
        Path(path).write_text(str(child.pid))
        print("started", flush=True)
        time.sleep(1000)

    run = finished(client, endless)
    row = run.details()
    assert row["status"] == "timed_out"
    assert row["reason"] == "ran longer than timeout=1s"
    assert dead(int(marks.lines()[0]))
    assert ("stdout", "started") in lines(client, run)


def test_a_cancel_ends_a_running_run_and_its_children(client, marks):
    path = marks.path

    @rs.job
    def endless():
        child = subprocess.Popen(["sleep", "1000"])
        Path(path).write_text(str(child.pid))
        rs.current().progress(1, 2)
        time.sleep(1000)

    client.deploy(endless)
    run = client.trigger(endless)
    until(lambda: run.details().get("progress") == (1.0, 2.0))
    run.cancel().wait("30s")
    assert run.status == "cancelled"
    assert run.explain() == "cancelled by a user"
    assert dead(int(marks.lines()[0]))


def test_the_beginning_of_an_id_is_enough_to_read_of_a_run_and_to_cancel_it(client):
    @rs.job(num_cpus=0.1, overlap="allow", params={"rest": 0})
    def begun(rest):
        print(f"rests {rest}s", flush=True)
        time.sleep(rest)

    over, beginning = finished(client, begun), "begun@"
    assert client.logs(beginning).line.tolist() == ["rests 0s"]
    assert client.attempts(beginning).run_id.tolist() == [over.id]
    with pytest.raises(NotFound, match="no unfinished run"):
        client.cancel(beginning)

    run = client.trigger(begun, rest=1000)
    for ask in (client.run, client.logs, client.attempts, client.explain, client.cancel):
        with pytest.raises(Ambiguous, match="2 runs begin with 'begun@'") as caught:
            ask(beginning)
        assert over.id in caught.value.why
        assert run.id in caught.value.why
        with pytest.raises(NotFound):
            ask("begun@1999")
    client.cancel(run.id[:-1])
    assert run.wait("30s").status == "cancelled"


def test_what_the_history_holds_of_a_run_is_read_while_no_scheduler_answers(client):
    @rs.job(num_cpus=0.1)
    def silent(): ...

    run = finished(client, silent)
    assert len(client.attempts(run.id)) == 1
    kill_actor(client, "Scheduler")
    with hurry(0.05):
        with pytest.raises(ClusterError):
            client.status()
        assert client.logs(run.id).empty
        assert client.logs("silent@").empty
        assert len(client.attempts("silent@")) == 1
    assert client.run("silent@").id == run.id


def test_a_run_that_is_cancelled_before_it_starts_never_runs(client, marks, tmp_path):
    path, go = marks.path, tmp_path / "go"

    @rs.job(num_cpus=4, overlap="allow")
    def whole(n):
        with open(path, "a") as file:
            file.write(f"{n}\n")
        while not go.exists():
            time.sleep(0.05)

    client.deploy(whole)
    first, second, third = client.trigger_many(whole, [{"n": n} for n in range(3)])
    second.cancel()
    assert second.wait("30s").status == "cancelled"
    go.touch()
    assert first.wait("30s").status == "succeeded"
    assert third.wait("30s").status == "succeeded"
    assert marks.lines() == ["0", "2"]


def test_a_failed_attempt_is_tried_again_and_each_attempt_is_on_record(client, marks):
    path = marks.path

    @rs.job(retries=rs.Retry(3, delay="100ms"))
    def flaky():
        with open(path, "a") as file:
            file.write(f"{rs.current().attempt}\n")
        print(f"attempt {rs.current().attempt}")
        if rs.current().attempt < 3:
            raise RuntimeError("not yet")
        return "done"

    run = finished(client, flaky)
    assert run.result() == "done"
    attempts = client.attempts(run.id)
    assert list(attempts.attempt) == [1, 2, 3]
    assert list(attempts.status) == ["failed", "failed", "succeeded"]
    assert marks.lines() == ["1", "2", "3"]
    assert [line for _, line in lines(client, run)] == ["attempt 1", "attempt 2", "attempt 3"]


def test_lines_and_progress_are_seen_while_the_run_goes_on(client, marks):
    path = marks.path

    @rs.job
    def slow():
        print("first line", flush=True)
        rs.current().progress(3, 10)
        while not Path(path).exists():
            time.sleep(0.05)

    client.deploy(slow)
    run = client.trigger(slow)
    until(lambda: run.details().get("progress") == (3.0, 10.0))
    assert run.status == "running"
    until(lambda: ("stdout", "first line") in lines(client, run))
    Path(path).write_text("go")
    assert run.wait("30s").status == "succeeded"
    assert lines(client, run) == [("stdout", "first line")]


def test_a_run_that_fits_no_node_says_so_at_once_and_ends_by_its_queue_timeout(client):
    @rs.job(num_gpus=2, queue_timeout="2s")
    def train():
        pass

    (deployed,) = client.deploy(train).to_dict("records")
    assert "asks num_gpus=2; the largest node offers 0" in deployed["warnings"][0]
    run = client.trigger(train)
    assert "asks num_gpus=2; the largest node offers 0" in client.explain(run.id)["reason"]
    assert run.wait("30s").status == "timed_out"
    assert "queue_timeout=2s" in run.explain()


def test_a_wait_that_is_too_short_says_where_the_run_stands(client, tmp_path):
    go = tmp_path / "go"

    @rs.job
    def nap():
        while not go.exists():
            time.sleep(0.05)

    client.deploy(nap)
    run = client.trigger(nap)
    with pytest.raises(WaitTimeout, match="still"):
        run.wait(0.2)
    go.touch()
    assert run.wait("30s").status == "succeeded"


def test_unknown_names_and_parameters_are_refused_and_change_nothing(client):
    @rs.job
    def strict(a):
        return a

    client.deploy(strict)
    before = len(client.runs())
    with pytest.raises(InvalidParameter, match="takes no parameter 'b'"):
        client.trigger(strict, a=1, b=2)
    with pytest.raises(InvalidParameter, match="needs the parameter 'a'"):
        client.trigger(strict)
    with pytest.raises(NotFound):
        client.trigger("nobody")
    with pytest.raises(NotFound):
        client.run("nobody@")
    assert len(client.runs()) == before


def test_a_function_that_cannot_be_sent_names_the_culprit(client):
    lock = threading.Lock()

    @rs.job
    def holds():
        return lock.locked()

    with pytest.raises(NotPicklable, match="captured variable 'lock' is of type 'lock'"):
        client.deploy(holds)


def test_a_run_leaves_no_trace_in_the_next_one(client):
    @rs.job(env={"MODE": "test"}, overlap="allow")
    def meddle():
        os.environ["LEFT"] = "behind"
        os.chdir("/")
        subprocess.Popen(["sleep", "1000"])
        return [os.environ["MODE"], os.environ.get("LEFT")]

    @rs.job
    def look():
        return [os.environ.get("LEFT"), os.environ.get("MODE"), psutil.Process().children() == []]

    client.deploy(meddle, look)
    for run in client.trigger_many(meddle, [{}] * 6):
        assert run.result("30s") == ["test", "behind"]
    for run in client.trigger_many(look, [{}] * 6):
        assert run.result("30s") == [None, None, True]


def test_a_flood_without_newline_is_capped_with_a_visible_marker(client):
    @rs.job
    def flood():
        chunk = b"x" * (1 << 20)
        for _ in range(200):
            os.write(1, chunk)
        os.write(1, b"\ntail \xff\x00 end\n")
        return "done"

    run = finished(client, flood)
    assert run.result() == "done"
    frame = client.logs(run.id)
    assert frame.line.str.len().sum() < 9 * 1024 * 1024
    assert frame.line.str.contains("left out").any()
    assert frame.line.iloc[-1] == "tail \\xff\\x00 end"


def test_what_a_deploy_warns_of_is_told_whole_unless_nobody_is_to_be_told(client, capsys):
    @rs.job(resources={"a-resource-with-a-long-name-that-no-node-has": 3})
    def vast(): ...

    for ask, what in ((client.plan, "Plan"), (client.deploy, "Deploy")):
        (warning,) = ask(vast).warnings[0]
        assert len(warning) > 80
        assert capsys.readouterr() == ("", f"{what} warning\n  vast: {warning}\n")
        assert ask(vast, show=False).warnings[0] == [warning]
        assert capsys.readouterr() == ("", "")
    client.delete(vast)


def test_a_run_that_ray_refuses_fails_with_its_reason_and_harms_no_other(client):
    @rs.job(placement="node:no-such-node", num_cpus=0.1)
    def nowhere():
        pass

    @rs.job(num_cpus=0.1)
    def anywhere():
        return "ran"

    client.deploy(nowhere, anywhere)
    refused, ran = client.trigger(nowhere), client.trigger(anywhere)
    assert ran.result("30s") == "ran"
    assert refused.wait("30s").status == "failed"
    assert refused.explain().startswith("Ray refuses it")


def test_a_function_with_much_captured_data_runs_however_often_it_is_triggered(client):
    data = os.urandom(200_000)

    @rs.job(overlap="allow", num_cpus=0.1)
    def heavy():
        return len(data)

    client.deploy(heavy)
    runs = [client.trigger(heavy) for _ in range(5)]
    assert [run.result("60s") for run in runs] == [200_000] * 5


def test_a_finished_run_is_run_again_from_its_row_in_the_history(client):
    @rs.job(overlap="allow", num_cpus=0.1)
    def echo(word):
        return word

    run = finished(client, echo, word="hello")
    for again in (
        run.retry(),
        client.rerun(client.runs().set_index("run_id", drop=False).loc[run.id]),
    ):
        assert again.result("30s") == "hello"
        assert again.details()["origin"] == run.id


def test_an_exit_code_of_any_size_is_survived(client):
    @rs.job(num_cpus=0.1)
    def exits():
        sys.exit(2**70)

    row = finished(client, exits).details()
    assert (row["status"], row["exit_code"]) == ("failed", None)
    client.seal()
    assert client.run(row["run_id"]).status == "failed"


def test_children_of_a_job_can_be_interrupted(client):
    @rs.job(num_cpus=0.1)
    def parent():
        child = subprocess.Popen(["sleep", "1000"])
        child.send_signal(2)
        return child.wait(timeout=30)

    assert finished(client, parent).result() == -2


def test_another_home_on_the_same_cluster_is_refused(client, tmp_path):
    with pytest.raises(Conflict, match="keeps its home at"):
        rs.connect(tmp_path)
    assert rs.connect(client.home).home == client.home


def dead(pid):
    """Whether a process is gone, or only waits for its parent to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_files_of_a_ray_of_our_own_are_this_users_alone(client):
    around = Path(local.find(client.home).temp_dir).parent
    assert around.stat().st_mode & 0o777 == 0o700
    assert (client.home / "ray.token").stat().st_mode & 0o777 == 0o600
