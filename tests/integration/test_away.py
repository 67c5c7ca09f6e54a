"""A node that does not see the home: its results arrive there, whoever dies on the way."""

import os
import time
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pytest

import away
import raysched as rs
from raysched.core.states import State
from support import kill_actor, until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def node(client, tmp_path_factory):
    away.require()
    found = away.Away(client.home, tmp_path_factory.mktemp("away"))
    yield found
    found.stop()


def away_job(function=None, /, **options):
    """Declare a job that only the node away can run."""
    return rs.job(function, resources={away.RESOURCE: 1}, num_cpus=0.1, **options)


def a_stream(before, go):
    """A function that returns a long stream: of `before` MiB, and of one more once `go` exists."""
    path = str(go)

    def stream():
        def batches():
            yield from (pa.record_batch({"noise": [os.urandom(MIB)]}) for _ in range(before))
            while not Path(path).exists():
                time.sleep(0.05)
            yield pa.record_batch({"noise": [os.urandom(MIB)]})

        print(os.getpid(), flush=True)
        return pa.RecordBatchReader.from_batches(pa.schema({"noise": pa.binary()}), batches())

    return stream


def staged(home):
    return [path for path in (home / ".staging" / "results").rglob("*") if path.is_file()]


def under_way(client, node, go, **options):
    """Start a run whose result has arrived in part, and return it."""
    job = away_job(**options)(a_stream(66, go))
    client.deploy(job)
    run = client.trigger(job)
    until(lambda: any(path.stat().st_size > 8 * MIB for path in staged(client.home)))
    return run


def test_a_frame_comes_back_from_a_node_that_does_not_see_the_home(client, node):
    frame = pd.DataFrame({"n": [1, 2], "city": ["Łódź", "NYC"]})
    home = str(client.home)

    @away_job
    def table():
        print(sorted(os.listdir(home)), flush=True)
        return frame

    client.deploy(table)
    run = client.trigger(table)
    pd.testing.assert_frame_equal(run.result("60s"), frame)
    assert client.logs(run.id).line.tolist() == ["[]"]
    assert run.details()["result_rows"] == 2
    assert staged(client.home) == []


def test_a_large_result_arrives_while_memory_stays_flat(client, node, tmp_path):
    (tmp_path / "go").touch()
    job = away_job(name="large")(a_stream(300, tmp_path / "go"))
    client.deploy(job)
    names = ("Launcher", "Scheduler")
    before = {name: memory(client, name) for name in names}
    most = dict(before)

    def over():
        most.update({name: max(most[name], memory(client, name)) for name in names})
        return State(run.status).final

    run = client.trigger(job)
    until(over, timeout_s=120)
    assert run.status == "succeeded", run.explain()
    path = client.home / run.details()["result_path"]
    assert path.stat().st_size > 300 * MIB
    grown = {name: round((most[name] - before[name]) / MIB, 1) for name in names}
    print("grown, MiB:", grown)
    assert max(grown.values()) < 64


def memory(client, name):
    """The private memory of one of our actors now, in bytes."""
    raylet = psutil.Process(client.status()["pid"]).parent()
    (process,) = [p for p in raylet.children() if f"ray::{name}" in " ".join(p.cmdline())]
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
    )
    return int(fields["RssAnon"].split()[0]) * 1024


def test_a_scheduler_that_dies_while_a_result_travels_loses_nothing(client, node, tmp_path):
    run = under_way(client, node, tmp_path / "go", name="undisturbed")
    kill_actor(client, "Scheduler")
    client.status()
    (tmp_path / "go").touch()
    assert len(run.result("60s")) == 67
    assert client.attempts(run.id).status.tolist() == ["succeeded"]


@pytest.mark.parametrize("whose", ["worker", "launcher"])
def test_a_death_while_a_result_travels_leaves_no_part_of_it(client, node, tmp_path, whose):
    run = under_way(client, node, tmp_path / "go", name=f"{whose}-dies", retries=1)
    (part,) = staged(client.home)
    if whose == "worker":
        os.kill(int(client.logs(run.id).line[0]), 9)
    else:
        kill_actor(client, "Launcher")
    (tmp_path / "go").touch()
    assert len(run.result("60s")) == 67
    # By their numbers: of the first one nobody may have heard that it had started.
    attempts = client.attempts(run.id).sort_values("attempt")
    assert attempts.status.tolist() == ["lost", "succeeded"]
    assert [path.name for path in (client.home / "results" / f"{whose}-dies").iterdir()] == [
        f"{run.id.replace(':', '~')}.parquet"
    ]
    assert part.exists()
    an_hour_ago = time.time() - 3600
    os.utime(part, (an_hour_ago, an_hour_ago))
    client.seal()
    assert not part.exists()
