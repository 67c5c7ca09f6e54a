"""Why a run waits for a node, and what became of one: a second raylet joins, and is killed."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

import raysched as rs
from raysched.cluster import local, nodes, token
from support import until


class SecondNode:
    """A raylet of its own beside the head's, with a disk and in the zone `eu`."""

    def __init__(self, home: Path) -> None:
        record = local.find(home)
        command = [local.ray_program(), "start", "--block", f"--address={record.address}"]
        command += ["--num-cpus=1", '--resources={"disk": 1}', "--labels=zone=eu"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**local._environment(), **token.environment(record.token_path)},
        )
        until(lambda: len(alive()) == 2)

    def kill(self) -> None:
        """Kill the raylet as `kill -9` does; its supervisor ends what is left of the node."""
        tree = psutil.Process(self.process.pid).children(recursive=True)
        (raylet,) = [each.pid for each in tree if each.name() == "raylet"]
        os.kill(raylet, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        """End the node, and wait until Ray knows, so that it places nothing there any more."""
        if self.process.poll() is None:
            local._end(psutil.Process(self.process.pid))
        until(lambda: len(alive()) == 1)


def alive():
    import ray

    return [each["NodeID"] for each in ray.nodes() if each["Alive"]]


@pytest.fixture(scope="module")
def node(client):
    second = SecondNode(client.home)
    yield second
    second.stop()


@pytest.fixture
def reader(client, node, marks):
    """A job that needs the second node's disk, and lasts until a file is there."""
    path = marks.path

    @rs.job(resources={"disk": 1}, overlap="allow", retries=rs.Retry(1, delay="10m"))
    def reader():
        import time

        while not Path(path).exists():
            time.sleep(0.05)

    client.deploy(reader)
    return reader


def test_only_an_autoscaler_that_manages_nodes_is_one():
    assert nodes.autoscales({"node_type_mapping": {"a1": "ray.head.default", "b2": "gpu"}})
    assert not nodes.autoscales({"node_type_mapping": {"a1": "node_a1", "b2": "node_b2"}})
    assert not nodes.autoscales({"node_type_mapping": None})


def test_a_job_tells_of_its_last_slot_if_that_made_no_run(client):
    @rs.job(schedule=rs.every("1s"), num_cpus=0.1)
    def steady():
        return 1

    client.deploy(steady)
    client.pause(steady, note="by hand")
    until(lambda: (client.explain(steady)["last_slot"] or {}).get("cause") == "paused")
    assert " was skipped: paused: by hand" in client.explain(steady)["reason"]
    client.delete(steady)
    assert client.explain(steady)["cause"] == "deleted"


def test_what_a_busy_node_could_hold_is_told_apart_from_what_none_ever_will(
    client, node, reader, marks
):
    first = client.trigger(reader)
    until(lambda: first.status == "running")
    second = client.trigger(reader)
    until(lambda: client.explain(second.id)["cause"] == "no_capacity_now")
    found = client.explain(second.id)
    assert [each["runs"] for each in found["nodes"]] == [[first.id]]
    assert found["nodes"][0]["total"] == {"CPU": 1, "disk": 1}
    assert "0 of 1 disk free, taken by " + first.id in second.explain()
    Path(marks.path).write_text("go")
    assert second.wait("60s").explain() == "it succeeded"

    never = {
        "label_selector={'zone': 'us'}": reader.options(name="us", label_selector={"zone": "us"}),
        "disk=2; the largest node offers 1": reader.options(name="big", resources={"disk": 2}),
        "placement='node:10.9.9.9'": reader.options(name="far", placement="node:10.9.9.9"),
    }
    rows = client.deploy(*never.values()).set_index("job")
    for words, job in never.items():
        found = client.explain(job)
        assert found["cause"] == "no_capacity_ever"
        assert words in found["reason"]
        assert words in rows.loc[job.name].warnings[0]
    at_home = reader.options(name="eu", resources={}, label_selector={"zone": "in(eu, us)"})
    assert client.deploy(at_home).warnings[0] == []
    for job in (*never.values(), at_home):
        client.delete(job)
    assert client.explain("eu")["cause"] == "deleted"


def test_a_run_whose_node_was_killed_names_the_node_and_when_it_is_tried_again(
    client, node, reader
):
    run = client.trigger(reader)
    until(lambda: run.status == "running")
    node.kill()
    until(lambda: run.status == "retrying")
    found = client.explain(run.id[:-1])
    assert found["cause"] == "node_lost"
    assert found["attempts"][0]["node_lost"]
    assert "attempt 1 of 2 was lost with node " in found["reason"]
    assert found["retry_at"] is not None
    run.cancel().wait("30s")
    until(lambda: len(alive()) == 1)
    assert "disk=1; the largest node offers 0" in client.explain(reader)["reason"]
    assert run.explain().startswith("cancelled by a user")
    client.delete(reader)
