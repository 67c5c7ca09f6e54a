"""Running work survives the scheduler; a dead launcher or worker makes attempts lost."""

import os
import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import raysched as rs
from support import kill_actor, until


def slots_between(first, last):
    """Return every whole second from `first` to `last`, as the schedule names them."""
    count = int((last - first).total_seconds())
    return [first + timedelta(seconds=n) for n in range(count + 1)]


def test_the_scheduler_is_killed_twenty_times_and_nothing_is_lost_doubled_or_interrupted(
    client, marks
):
    path = marks.path

    @rs.job(schedule=rs.every("1s"), catchup="all", overlap="allow", num_cpus=0.1)
    def tick():
        with open(path, "a") as file:
            file.write(f"tick {rs.current().run_id} {rs.current().attempt}\n")

    @rs.job
    def marathon():
        started = time.monotonic()
        with open(path, "a") as file:
            file.write("marathon start\n")
        for second in range(30):
            time.sleep(1)
            print(f"second {second}", flush=True)
        with open(path, "a") as file:
            file.write("marathon end\n")
        return round(time.monotonic() - started)

    client.deploy(tick, marathon)
    run = client.trigger(marathon)
    dice = random.Random(2026)
    for _ in range(20):
        time.sleep(dice.uniform(0.1, 1.5))  # the crash points of a real machine are at random
        kill_actor(client, "Scheduler")
        client.status()  # answers as soon as the next one is up
    assert run.result("90s") == 30
    client.pause(tick, note="the end")
    for unfinished in client.runs(job="tick", status="queued").run_id:
        client.run(unfinished).wait("60s")
    client.delete(tick)

    decisions = client.decisions(job="tick")
    decided = [slot.to_pydatetime() for slot in decisions.slot]
    assert decided == slots_between(decided[0], decided[-1])
    assert (decisions.slot == decisions.last_slot).all()

    fired = decisions[decisions.decision == "fired"].run_id.tolist()
    runs = client.runs(job="tick")
    assert sorted(fired) == sorted(runs.run_id)
    assert set(runs.status) == {"succeeded"}

    record = Counter(marks.lines())
    assert record["marathon start"] == record["marathon end"] == 1
    ticks = {line: count for line, count in record.items() if line.startswith("tick")}
    assert set(ticks.values()) == {1}
    assert sorted(ticks) == sorted(f"tick {run_id} 1" for run_id in fired)

    output = client.logs(run.id).line.tolist()
    assert output == [f"second {second}" for second in range(30)]
    assert client.attempts(run.id).attempt.tolist() == [1]


def test_a_trigger_that_was_acknowledged_survives_the_death_of_the_scheduler(client, marks):
    path = marks.path

    @rs.job(overlap="allow", num_cpus=0.1)
    def note(n):
        with open(path, "a") as file:
            file.write(f"{n}\n")

    client.deploy(note)
    runs = client.trigger_many(note, [{"n": n} for n in range(200)])
    kill_actor(client, "Scheduler")
    for run in runs:
        assert run.wait("60s").status == "succeeded"
    assert Counter(marks.lines()) == Counter(str(n) for n in range(200))


def test_a_scheduler_that_dies_before_it_gave_the_code_fails_no_run(client):
    data = os.urandom(200_000)

    @rs.job(overlap="allow", num_cpus=0.1)
    def heavy():
        return len(data)

    client.deploy(heavy)
    run = client.trigger(heavy)
    kill_actor(client, "Scheduler")
    assert run.result("60s") == 200_000


def test_the_death_of_the_launcher_loses_attempts_and_the_retry_policy_speaks(client, marks):
    path = marks.path

    @rs.job(retries=1, num_cpus=0.1)
    def stubborn():
        attempt = rs.current().attempt
        with open(path, "a") as file:
            file.write(f"{attempt} {os.getpid()}\n")
        if attempt == 1:
            time.sleep(1000)
        return attempt

    @rs.job(num_cpus=0.1)
    def fragile():
        time.sleep(1000)

    client.deploy(stubborn, fragile)
    retried, lost = client.trigger(stubborn), client.trigger(fragile)
    until(lambda: retried.status == lost.status == "running")
    kill_actor(client, "Launcher")
    assert retried.result("60s") == 2
    assert lost.wait("60s").status == "lost"
    assert lost.explain() == "the launcher that owned it died"
    assert client.attempts(retried.id).status.tolist() == ["lost", "succeeded"]


def test_the_death_of_a_worker_loses_its_attempt_with_the_output_so_far(client):
    @rs.job(num_cpus=0.1)
    def doomed():
        print(f"pid {os.getpid()}", flush=True)
        time.sleep(1000)

    client.deploy(doomed)
    run = client.trigger(doomed)
    until(lambda: len(client.logs(run.id)) == 1)
    os.kill(int(client.logs(run.id).line[0].split()[1]), signal.SIGKILL)
    assert run.wait("60s").status == "lost"
    assert run.explain() == "its worker process died"
    assert len(client.logs(run.id)) == 1


def test_a_redeploy_never_unpauses_resets_or_fires_again(client):
    @rs.job(schedule=rs.every("1s"), num_cpus=0.1)
    def steady():
        return 1

    client.deploy(steady)
    client.pause(steady, note="by hand")
    second = client.deploy(steady.options(tags=["changed"])).iloc[0]
    assert (second.action, second.paused) == ("updated", True)
    third = client.deploy(steady.options(tags=["changed"])).iloc[0]
    assert third.action == "unchanged"
    assert "paused: by hand" in client.explain(steady)["reason"]
    until(lambda: len(client.decisions(job="steady")) >= 2)
    decisions = client.decisions(job="steady")
    assert set(decisions.decision[1:]) == {"skipped"}
    assert decisions.slot.is_unique
    client.delete(steady)


def test_the_history_on_disk_is_read_by_plain_pandas_each_run_once(client):
    import subprocess
    import sys

    client.seal()
    script = (
        "import sys, pandas as pd; frame = pd.read_parquet(sys.argv[1]);"
        "assert 'raysched' not in sys.modules;"
        "assert frame.run_id.is_unique; print(len(frame))"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-c", script, str(client.home / "runs")],
        capture_output=True,
        text=True,
        check=True,
    )
    finished = client.runs(since=None).query("finished_at.notna()")
    assert (
        int(out.stdout) == len(finished) == len(rs.runs(client.home).dropna(subset=["finished_at"]))
    )
    assert datetime.now(UTC) > finished.finished_at.max()
