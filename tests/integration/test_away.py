"""A node that does not see the home: its results arrive there, whoever dies on the way."""

import json
import os
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pytest

import away
import raysched as rs
from raysched.cluster.handle import ArchivistHandle
from raysched.core.states import State
from raysched.store.archive import Question
from raysched.store.distant import DistantArchive
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

    # And the other way: fetched by a client that does not see the home either.
    fetched = node.python(f"""
import os, raysched as rs
archive = rs.connect(start=False).archive
with archive.holding({run.details()["result_path"]!r}) as home:
    print(os.path.getsize(home.path({run.details()["result_path"]!r})))
""")
    assert int(fetched) == path.stat().st_size
    print("archivist, MiB:", round(memory(client, "Archivist") / MIB))
    assert memory(client, "Archivist") < 300 * MIB


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
        until(lambda: not client.logs(run.id).empty)
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


def test_a_client_that_does_not_see_the_home_reads_history_logs_and_results(client, node):
    @away_job(name="seen-from-away")
    def table():
        print("one line", flush=True)
        return pd.DataFrame({"n": [1, 2, 3]})

    client.deploy(table)
    run = client.trigger(table)
    run.wait("60s")
    for sealed in (False, True):
        if sealed:
            client.seal()
        told = node.python(f"""
import json, os, raysched as rs
client = rs.connect(start=False)
assert not os.listdir(client.home)
run = client.run({run.id[:-3]!r})
print(json.dumps([
    run.id, run.status, run.result().n.tolist(), run.logs().line.tolist(),
    client.attempts(run.id).status.tolist(), client.runs(job="seen-from-away").run_id.tolist(),
    len(client.decisions()), client.explain(run.id)["status"],
]))
""")
        decided = len(client.decisions())
        assert json.loads(told) == [
            *(run.id, "succeeded", [1, 2, 3], ["one line"]),
            *(["succeeded"], [run.id], decided, "succeeded"),
        ]


def test_the_command_line_reads_the_history_where_the_home_is_not_seen(client, node):
    raysched = str(Path(sys.executable).with_name("raysched"))
    (row,) = client.runs(job="seen-from-away").to_dict("records")
    run_id = row["run_id"]
    shown = json.loads(node.command(raysched, "runs", "--job", "seen-from-away", "-o", "json"))
    assert [each["run_id"] for each in shown] == [run_id]
    assert node.command(raysched, "logs", run_id).split("  ")[1] == "one line\n"
    assert "succeeded" in node.command(raysched, "run", run_id)
    node.command(raysched, "decisions")


def test_the_death_of_the_scheduler_or_the_archivist_interrupts_no_reader(client):
    archive = DistantArchive(ArchivistHandle(client._handle).call)
    asked = Question(dataset="runs")
    before = archive.frame(asked)
    assert len(before) > 0
    for name in ("Archivist", "Scheduler"):
        kill_actor(client, name)
        pd.testing.assert_frame_equal(archive.frame(asked), before)
