"""The hosts that other tests use are apart from one another, and leave nothing behind."""

import os
import subprocess
import sys

import psutil
import pytest

import hosts
from support import until


@pytest.fixture(autouse=True)
def _possible():
    hosts.require()


def ssh(host):
    return ("ssh", "-o", "StrictHostKeyChecking=no", "-i", hosts.KEY, f"root@{host.ip}")


def test_hosts_share_the_interpreter_and_what_is_named_but_nothing_else(tmp_path):
    with hosts.network("one", "two", shared=[tmp_path]) as (one, two):
        for place in ("~", "/tmp", "/var/tmp", "/run", "/dev/shm"):
            one.run("sh", "-c", f"echo mine > {place}/note")
            assert two.run("sh", "-c", f"test ! -e {place}/note").returncode == 0
        assert (one.home / "note").read_text() == (one.tmp / "note").read_text() == "mine\n"
        one.run("sh", "-c", f"echo ours > {tmp_path}/note")
        assert two.run("cat", f"{tmp_path}/note").stdout == "ours\n"
        assert one.run(*ssh(two), "hostname; cd; pwd").stdout == f"two\n{hosts.HOME}\n"
        assert two.run("raysched", "--version").stdout.count(".") == 2
        two.popen("sleep", "1000")
        until(lambda: "sleep" in two.run("ps", "-axo", "comm=").stdout)
        assert "sleep" not in one.run("ps", "-axo", "comm=").stdout
        with pytest.raises(hosts.Failed, match="one: sh -c 'echo why; exit 3' exits 3\nwhy"):
            one.run("sh", "-c", "echo why; exit 3")


def test_a_host_whose_cable_is_drawn_is_out_of_reach_until_it_is_put_back():
    with hosts.network("one", "two") as (one, two):
        knock = ("timeout", "1", "bash", "-c", f"</dev/tcp/{two.ip}/22")
        assert one.run(*knock).returncode == 0
        two.cut()
        assert one.run(*knock, check=False).returncode == 124
        two.mend()
        until(lambda: one.run(*knock, check=False).returncode == 0)


def test_no_process_is_left_of_hosts_whose_maker_is_killed(tmp_path):
    program = (
        "import hosts\n"
        "with hosts.network('one') as (one,):\n"
        "    one.popen('setsid', 'sleep', '1000')\n"
        "    print(one.pid, flush=True); input()\n"
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=hosts.CHECKOUT / "tests",
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    first = psutil.Process(int(maker.stdout.readline()))
    maker.kill()
    maker.communicate()
    assert psutil.wait_procs([first], timeout=10)[1] == []
