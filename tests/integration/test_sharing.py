"""Tiny runs share Ray tasks, and none of them pays for it."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import raysched as rs
from support import until

MANY = 300


@pytest.fixture
def gate(tmp_path):
    """A file without which `hold` does not return."""
    return tmp_path / "gate"


def hold(gate):
    while not Path(gate).exists():
        time.sleep(0.05)


@pytest.fixture
def tiny(client, marks, gate):
    """A job whose runs are tiny by record, and do otherwise if they are told to."""
    path = marks.path

    @rs.job(overlap="allow", num_cpus=1)
    def tiny(n, do=None):
        import ray

        with open(path, "a") as file:
            file.write(f"{n} {ray.get_runtime_context().get_task_id()}\n")
        if do == "wait":
            hold(gate)
        if do == "kill":
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    client.deploy(tiny)
    for run in client.trigger_many(tiny, [{"n": f"warm-{n}"} for n in range(20)]):
        run.wait("60s")
    yield tiny
    client.delete(tiny)


def began(marks):
    """Return how often each run began, by its number; those of the fixture left out."""
    return Counter(line.split()[0] for line in marks.lines() if not line.startswith("warm"))


def test_tiny_runs_share_tasks_and_each_has_its_own_result(client, tiny, marks):
    runs = client.trigger_many(tiny, [{"n": n} for n in range(MANY)])
    assert [run.result("60s") for run in runs] == list(range(MANY))
    tasks = {line.split()[1] for line in marks.lines() if not line.startswith("warm")}
    assert len(tasks) < MANY / 2
    assert began(marks) == Counter(str(n) for n in range(MANY))


def test_no_run_waits_for_a_long_one_that_it_shares_a_task_with(client, tiny, marks, gate):
    wanted = [{"n": n, "do": "wait" if n == 100 else None} for n in range(MANY)]
    runs = client.trigger_many(tiny, wanted)
    long = runs.pop(100)
    for run in runs:
        assert run.wait("60s").status == "succeeded"
    assert long.status == "running"
    gate.touch()
    assert long.result("60s") == 100
    assert began(marks) == Counter(str(n) for n in range(MANY))


def test_a_run_that_kills_its_worker_takes_no_other_with_it(client, tiny, marks):
    wanted = [{"n": n, "do": "kill" if n in (70, 150) else None} for n in range(MANY)]
    runs = client.trigger_many(tiny, wanted)
    states = {n: run.wait("60s").status for n, run in enumerate(runs)}
    assert {n for n, state in states.items() if state != "succeeded"} == {70, 150}
    assert states[70] == states[150] == "lost"
    assert client.logs(runs[70].id).line.tolist() == ["last words"]
    assert began(marks) == Counter(str(n) for n in range(MANY))


def test_a_run_is_cancelled_out_of_a_task_that_waits_and_the_others_run(client, tiny, marks, gate):
    @rs.job(num_cpus=4)
    def hog():
        hold(gate)

    client.deploy(hog)
    blocker = client.trigger(hog)
    until(lambda: blocker.status == "running")
    runs = client.trigger_many(tiny, [{"n": n} for n in range(100)])
    cancelled = runs.pop(50)
    cancelled.cancel()
    assert cancelled.wait("30s").status == "cancelled"
    assert blocker.status == "running"
    gate.touch()
    for run in runs:
        assert run.wait("60s").status == "succeeded"
    assert began(marks) == Counter(str(n) for n in range(100) if n != 50)
