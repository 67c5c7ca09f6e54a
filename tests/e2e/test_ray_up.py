"""`raysched up` brings clusters up over SSH, as cluster.yaml says it, on hosts of their own."""

import json
import textwrap

import pytest
import yaml

import cluster_yaml
import hosts
from raysched.cluster import local
from support import until

JOBS = """
    import os, socket, time
    import pandas as pd
    import raysched as rs

    @rs.job(placement="spread", num_cpus=1, overlap="allow", retries=rs.Retry(3, delay="1s"))
    def where(name, seconds=0):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not os.path.exists("/tmp/enough"):
            time.sleep(0.05)
        return socket.gethostname()

    @rs.job(placement="spread", num_cpus=1, overlap="allow")
    def frame():
        return pd.DataFrame({"host": [socket.gethostname()]})

    @rs.job(schedule="0 6 * * *", timezone="America/New_York")
    def daily(): ...
"""
# What the head is asked as a notebook on it would ask; one answer a line, as JSON.
SHELL = """
    import json, sys
    import raysched as rs

    client = rs.connect()
    print(json.dumps(str(client.home)), flush=True)
    for line in sys.stdin:
        print(json.dumps(eval(line), default=str), flush=True)
"""

pytestmark = pytest.mark.timeout(400)  # Ray is started and stopped several times on each host


@pytest.fixture(autouse=True)
def _possible():
    hosts.require()


class Notebook:
    """A Python on a host that has called `rs.connect()`, with nothing said to it."""

    def __init__(self, host):
        (host.tmp / "shell.py").write_text(textwrap.dedent(SHELL))
        self._process = host.popen("python", "/tmp/shell.py")
        self.home = self._answer()

    def ask(self, expression):
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self._answer()

    def run(self, run_id):
        return self.ask(f"client.find_row({run_id!r})")

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        return json.loads(line)


def write_files(laptop, config):
    (laptop.home / "jobs").mkdir()
    (laptop.home / "jobs" / "where.py").write_text(textwrap.dedent(JOBS))
    config["file_mounts"]["~/jobs"] = "jobs"
    (laptop.home / "cluster.yaml").write_text(yaml.safe_dump(dict(config)))


# `ray stop` that breaks off before it comes to the GCS, as it does where a process ends just
# as it would be killed.
BREAKS_OFF = """
    #!/bin/sh
    if [ "$*" = stop ]; then pkill -x raylet; pkill -f monitor.py; exit 1; fi
    exec {ray} "$@"
"""


def mode(path):
    return path.stat().st_mode & 0o777


def rays(host):
    return [each for each in host.processes() if each.name() in ("raylet", "gcs_server")]


def test_one_host_up_and_up_again_and_restarted_and_down():
    with hosts.network("one") as (one,):
        write_files(one, cluster_yaml.for_hosts("127.0.0.1"))
        told = one.run("raysched", "up", "cluster.yaml").stderr
        assert "made a token that only you can read" in told
        assert "its scheduler runs on the head" in told
        assert mode(one.home / ".ray" / "auth_token") == 0o600
        one.run("ray", "exec", "cluster.yaml", "raysched deploy jobs")

        head = Notebook(one)
        assert head.home == f"{hosts.HOME}/raysched"
        assert head.ask("client.trigger('where', name='a').result()") == "one"
        assert len(rays(one)) == 2, "a second Ray was started beside the cluster's"
        run_id = head.ask("client.trigger('where', name='b', seconds=600).id")
        until(lambda: head.run(run_id)["status"] == "running")

        # Up again, from a laptop that has forgotten the cluster: what runs goes on.
        (one.tmp / "ray" / "cluster-raysched.state").unlink()
        before = head.ask("client.status()")
        assert "nothing was changed" in one.run("raysched", "up", "cluster.yaml").stderr
        assert head.ask("client.status()")["pid"] == before["pid"]
        assert head.run(run_id)["status"] == "running"

        # A scheduler that cannot be renewed is no success, and none of Ray's faults.
        profile = one.home / ".bashrc"
        sound = profile.read_text()
        profile.write_text(sound + "export RAYSCHED_HOME=/srv/another\n")
        failed = one.run("raysched", "up", "cluster.yaml", check=False)
        profile.write_text(sound)
        assert failed.returncode == 1
        assert "keeps its home at /srv/raysched, not /srv/another" in failed.stdout + failed.stderr
        assert "is not up, or not up to date" in failed.stderr
        assert "starting it there" not in failed.stderr

        # Down is refused while it runs; the cluster is left as it is.
        refused = one.run("raysched", "down", "cluster.yaml", check=False)
        assert refused.returncode == 1
        assert "1 run(s) are under way" in refused.stdout + refused.stderr
        assert head.run(run_id)["attempts"] == 1

        # The head's Ray dies. Another one takes up the timetable, and retries what was lost.
        one.run("ray", "stop", "--force")
        (one.tmp / "enough").touch()
        one.run("raysched", "up", "cluster.yaml")
        head = Notebook(one)
        assert head.ask("client.status()")["epoch"] > before["epoch"]
        assert head.ask("list(client.jobs().job)") == ["daily", "frame", "where"]
        assert head.ask("len(client.next(within='24h', job='daily'))") == 1
        until(lambda: head.run(run_id)["status"] == "succeeded")
        assert head.run(run_id)["attempts"] == 2

        (one.home / "bin").mkdir()
        (one.home / "bin" / "ray").write_text(
            textwrap.dedent(BREAKS_OFF).lstrip().format(ray=local.ray_program())
        )
        (one.home / "bin" / "ray").chmod(0o755)
        profile.write_text(sound + "export PATH=$HOME/bin:$PATH\n")
        told = one.run("raysched", "down", "cluster.yaml").stderr
        assert "is down" in told
        assert not rays(one)
        statuses = one.run("raysched", "runs", "-o", "json")
        assert [row["status"] for row in json.loads(statuses.stdout)] == ["succeeded"] * 2


def test_two_hosts_share_the_work_and_one_that_is_cut_off_loses_it():
    soon = "export RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=1000 "
    soon += "RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=3;"
    with hosts.network("laptop", "head", "worker") as (laptop, head, worker):
        write_files(
            laptop, cluster_yaml.for_hosts(head.ip, [worker.ip], health=soon, min_workers=1)
        )
        laptop.run("raysched", "up", "cluster.yaml")
        for host in (head, worker):
            until(lambda host=host: (host.home / ".ray" / "auth_token").exists())
            assert mode(host.home / ".ray" / "auth_token") == 0o600
        head.run("raysched", "deploy", "jobs")

        notebook = Notebook(head)
        nodes = "sum(n['Alive'] for n in __import__('ray').nodes())"
        until(lambda: notebook.ask(nodes) == 2)
        # A node that is not the head finds the cluster, too, and has no home of its own.
        there = Notebook(worker)
        assert there.ask("client.status()")["pid"] == notebook.ask("client.status()")["pid"]
        frames = "list({client.trigger('frame').result().host[0] for n in range(4)})"
        until(lambda: set(notebook.ask(frames)) == {"head", "worker"})
        until(lambda: set(there.ask(frames)) == {"head", "worker"})
        assert not (worker.home / "raysched").exists()

        ids = notebook.ask("[client.trigger('where', name=n, seconds=600).id for n in 'abcd']")
        until(lambda: all(notebook.run(each)["node_ip"] for each in ids))
        at = {each: notebook.run(each)["node_ip"] for each in ids}
        assert set(at.values()) == {head.ip, worker.ip}

        worker.cut()
        (head.tmp / "enough").touch()
        until(lambda: all(notebook.run(each)["status"] == "succeeded" for each in ids))
        for each in ids:
            assert notebook.ask(f"client.run({each!r}).result()") == "head"
            ends = notebook.ask(f"list(client.attempts({each!r}).status)")
            assert ends == (["lost"] if at[each] == worker.ip else []) + ["succeeded"]

        worker.mend()
        until(lambda: notebook.ask(nodes) == 2)
        (worker.tmp / "enough").touch()
        code = "{client.trigger('where', name=str(n)).result() for n in range(4)}"
        until(lambda: set(notebook.ask(f"list({code})")) == {"head", "worker"})
        laptop.run("raysched", "down", "cluster.yaml")
        assert not rays(head)
