"""What a container gets of its node, and what it does not."""

import json

import pytest

import docker_engine
from raysched.runners.container.reaper import Reaper
from raysched.spec.container import Mount
from support import until


def test_a_container_starts_with_no_rights(ran):
    _, lines = ran("grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; cat /proc/1/comm")
    assert [line.text.split()[-1] for line in lines] == [
        "0000000000000000", "1", "2", "docker-init"
    ]  # fmt: skip


def test_the_limits_are_those_of_the_job(attempt, engine, background):
    one = attempt("echo up; sleep 100", num_cpus=0.5, memory_bytes=32 << 20, pids_limit=50)
    run = background(one.run)
    until(one.tail)
    host = engine.inspect_container(one._task.name)["HostConfig"]
    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == host["MemorySwap"] == 32 << 20
    assert host["PidsLimit"] == 50
    assert host["LogConfig"]["Config"]["max-file"] == "2"
    assert not host["Privileged"]
    assert not host["AutoRemove"]
    assert host["Init"]
    assert (host["PidMode"], host["IpcMode"], host["NetworkMode"]) == ("", "private", "bridge")
    from raysched.runners.container import stop

    stop(one._rooms, one._task.key, "cancelled", "/home")
    run.result()


def test_a_container_gets_no_more_cpu_than_it_asked(ran):
    ending, _ = ran("timeout 2 sh -c 'while :; do :; done'; true", num_cpus=0.25)
    assert ending.cpu_time_s < 1.2


def test_a_fork_bomb_stays_small(ran):
    ending, lines = ran(
        "i=0; while [ $i -lt 100 ]; do sleep 2 & i=$((i+1)); done; wait; exit 3", pids_limit=20
    )
    assert any("can't fork" in line.text for line in lines)
    assert ending.exit_code != 0


def test_more_cpus_than_the_node_has_are_all_of_them(ran):
    assert ran("true", num_cpus=10_000)[0].exit_code == 0


def test_no_shell_reads_a_command(ran):
    _, lines = ran(command=("echo", "$(id)", "`id`", "; id"))
    assert [line.text for line in lines] == ["$(id) `id` ; id"]


def test_a_read_only_container_can_write_to_tmp_and_out(ran):
    ending, lines = ran("echo 1 > /tmp/x && echo 1 > /raysched/out/x; echo 1 > /x", read_only=True)
    assert ending.exit_code != 0
    assert "Read-only file system" in lines[-1].text


def test_a_container_without_a_network_has_none(ran):
    _, lines = ran("ls /sys/class/net", network="none")
    assert "eth0" not in [line.text for line in lines]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"network": "nowhere"}, "network nowhere not found"),
        ({"user": "nobodyhere"}, "unable to find user nobodyhere"),
        ({"gpu_ids": ("0",)}, "could not select device driver"),
        ({"params": {"a": "x" * 200_000}}, "RAYSCHED_PARAMS is too long"),
        ({"workdir": "/etc/passwd"}, "/etc/passwd is not a directory"),
    ],
)
def test_what_the_node_cannot_give_is_the_job_s_fault_and_no_loss(ran, asked, why):
    ending, _ = ran("true", **asked)
    assert (ending.error_type, ending.lost, ending.exit_code) == ("OptionRefused", False, None)
    assert why in ending.fault


def test_a_container_of_our_name_that_is_not_ours_is_left_alone(attempt, engine):
    one = attempt("true")
    made = engine.create_container(docker_engine.BASE, "true", name=one._task.name)
    try:
        ending = one.run()
        assert ending.error_type == "OptionRefused"
        assert "is taken on this node" in ending.fault
        one.close(b"over")
        Reaper(one._rooms, 0)._reap(one._room)
        assert engine.inspect_container(made["Id"])["Name"].endswith(one._task.name)
    finally:
        engine.remove_container(made["Id"], force=True)


def test_a_container_that_somebody_renames_is_watched_to_its_end(attempt, engine, background, key):
    one = attempt("echo up; sleep 1; exit 3")
    run = background(one.run)
    until(one.tail)
    engine.rename(one._task.name, key)
    try:
        assert run.result(20).exit_code == 3
    finally:
        engine.rename(key, one._task.name)


@pytest.mark.parametrize("network", ["host", "container:x", "default"])
def test_no_namespace_of_others_is_given(ran, network):
    ending, _ = ran("true", network=network)
    assert (ending.error_type, ending.exit_code) == ("OptionRefused", None)


def test_a_capability_beyond_the_container_is_refused(ran):
    assert ran("true", cap_add=("SYS_ADMIN",))[0].error_type == "OptionRefused"
    _, lines = ran("grep CapEff /proc/self/status", cap_add=("CHOWN",))
    assert lines[0].text.split()[1] == "0000000000000001"


def test_a_folder_is_mounted_only_below_the_roots_of_the_node(ran, tmp_path, monkeypatch):
    data, other = tmp_path / "data", tmp_path / "other"
    for folder in (data, other):
        folder.mkdir()
        (folder / "file").write_text("content")
    (data / "link").symlink_to(other)
    mount = Mount(source=str(data), target="/data")
    assert "allows no folder at all" in ran("true", mounts=(mount,))[0].fault
    monkeypatch.setenv("RAYSCHED_MOUNT_ROOTS", str(data))
    ending, lines = ran("cat /data/file; echo 1 > /data/new", mounts=(mount,))
    assert ending.exit_code != 0
    assert sorted(line.text for line in lines)[0] == "content"
    assert "Read-only file system" in " ".join(line.text for line in lines)
    for source in (other, data / "link", data / ".." / "other", tmp_path, data / "none", "/"):
        ending, _ = ran("true", mounts=(Mount(source=str(source), target="/data"),))
        assert ending.error_type == "OptionRefused", source
    for target in ("/raysched/out", "/run/secrets/x", "/proc", "/", "data"):
        ending, _ = ran("true", mounts=(Mount(source=str(data), target=target),))
        assert ending.error_type == "OptionRefused", target
    writable = Mount(source=str(data), target="/data", read_only=False)
    assert ran("echo 1 > /data/new", mounts=(writable,))[0].exit_code == 0
    assert (data / "new").exists()


def test_a_secret_is_a_file_in_memory_that_nothing_else_shows(
    attempt, engine, tmp_path, monkeypatch
):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "token").write_text("hunter2-hunter2\n")
    monkeypatch.setenv("RAYSCHED_SECRETS_DIR", str(folder))
    one = attempt(
        "cat /run/secrets/token; sed s/^/x/ /run/secrets/token; "
        "wc -c < /run/secrets/token; echo 1 > /run/secrets/token",
        secrets=("token",),
        user="65534",
    )
    ending = one.run()
    lines = one.tail()
    assert [line.text for line in lines if line.stream == "stdout"] == ["***", "x***", "16"]
    (refusal,) = [line.text for line in lines if line.stream == "stderr"]
    assert "Read-only file system" in refusal
    assert ending.exit_code != 0
    assert "hunter2" not in json.dumps(engine.inspect_container(one._task.name))
    assert b"hunter2" not in one._room.log.read_bytes()
    assert one._room.secrets.exists()
    one.close(b"over")
    assert not one._room.secrets.exists()


def test_a_secret_that_is_not_there_is_named(ran, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSCHED_SECRETS_DIR", str(tmp_path))
    ending, _ = ran("true", secrets=("token",))
    assert ending.error_type == "SecretMissing"
    assert "'token'" in ending.fault
    assert ran("true", secrets=("../passwd",))[0].error_type == "SecretMissing"
