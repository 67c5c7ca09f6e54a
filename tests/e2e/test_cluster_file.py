"""The cluster.yaml of this checkout is what Ray takes, both ways; what is not is refused early."""

import os
import subprocess
import sys

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import cluster_yaml
import hosts
from raysched.cli import main
from raysched.cluster import clusterfile, token
from raysched.errors import InvalidCluster

TEXT = cluster_yaml.PATH.read_text()
OWN = cluster_yaml.for_own_machines(TEXT)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a cluster file, for machines of one's own, with another text in place of one."""
    monkeypatch.chdir(tmp_path)
    for name in ("raysched", "pyproject.toml", "README.md", "LICENSE", "jobs"):
        (tmp_path / name).symlink_to(hosts.CHECKOUT / name)
    (tmp_path / "key").touch()

    def write(old="", new="", text=OWN):
        assert old in text
        path = tmp_path / "cluster.yaml"
        path.write_text(text.replace(old, new, 1).replace("~/.ssh/id_ed25519", "key"))
        return path

    return write


# --- what Ray makes of it


def test_for_a_cloud_ray_takes_a_head_without_cpus_and_workers_that_go_when_idle():
    config = prepare_config(yaml.safe_load(TEXT))
    validate_config(config)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert (types["worker"]["min_workers"], types["worker"]["max_workers"]) == (0, 8)
    assert config["idle_timeout_minutes"] == 10
    assert config["provider"]["cache_stopped_nodes"] is True


def test_for_machines_of_ones_own_ray_takes_what_the_comments_say():
    config = prepare_config(yaml.safe_load(OWN))
    validate_config(config)
    (kind,) = config["available_node_types"].values()
    assert (kind["min_workers"], kind["max_workers"]) == (0, 2)
    assert config["provider"]["type"] == "local"


def test_the_file_is_the_same_for_both_but_for_the_two_blocks():
    apart = {"provider", "auth", "max_workers", "head_node_type", "available_node_types"}
    apart |= {"min_workers"}
    cloud, own = yaml.safe_load(TEXT), yaml.safe_load(OWN)
    assert {k: v for k, v in cloud.items() if k not in apart} == {
        k: v for k, v in own.items() if k not in apart
    }


# --- what is judged before Ray sees it


def test_a_file_for_machines_of_ones_own_is_taken(write):
    file = clusterfile.read(write())
    assert file.name == "raysched"


def test_a_file_of_which_the_reader_has_left_a_blank_is_refused(write):
    with pytest.raises(InvalidCluster, match=r"node_config\.ImageId is refused") as refused:
        clusterfile.read(write(text=TEXT))
    assert clusterfile.BLANK in refused.value.why


@pytest.mark.parametrize(
    ("old", "new", "place", "why"),
    [
        ("cluster_name: raysched\n", "", "cluster_name", "missing"),
        ("idle_timeout_minutes: 10", "idle_timeout_minutes: soon", "idle_timeout", "'soon'"),
        ("idle_timeout_minutes:", "idle_minutes:", "the file", "'idle_minutes'"),
        ("type: local", "type: lokal", "provider.type", "no provider 'lokal'"),
        ("head_ip: 192.168.1.10", "head_ip: 192.168.1.11", "worker_ips", "stop it"),
        ("worker_ips: [192.168.1.11, 192.168.1.12]", "#", "worker_ips", "no list"),
        ("max_workers: 2", "max_workers: 2\nhead_node_type: x", "head_node_type", "no node types"),
        ("~/jobs: jobs", "~/jobs: job", "file_mounts.~/jobs", "is not there"),
        ("  ~/.ray/auth_token: ~/.ray/auth_token\n", "", "file_mounts", "no node is given a token"),
        ("RAY_AUTH_MODE=token ray start --add", "ray start --add", "worker_start", "open to all"),
        ("--autoscaling-config=~/ray_bootstrap_config.yaml", "", "head_start", "no workers"),
        ("ssh_private_key: ~/.ssh/id_ed25519", "ssh_private_key: ky", "ssh_private_key", "ky"),
    ],
)
def test_a_fault_is_told_with_its_place_and_its_cause(write, old, new, place, why):
    with pytest.raises(InvalidCluster) as refused:
        clusterfile.read(write(old, new))
    assert place in refused.value.what
    assert why in refused.value.why


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (None, 6, "there is no cluster file"),
        ("a: [", 2, "line 1, column 5: this is not YAML"),
        ("- a", 2, "holds no cluster"),
        ("\x00", 2, "not YAML"),
    ],
)
def test_what_is_no_cluster_file_is_told_by_the_command(write, capsys, text, code, told):
    path = write() if text is None else write(text=text)
    if text is None:
        path.unlink()
    for command in ("up", "down"):
        assert main.run([command, "cluster.yaml"]) == code
        assert told in capsys.readouterr().err


def test_options_for_here_do_not_go_with_a_file(write, capsys):
    write()
    assert main.run(["up", "cluster.yaml", "--num-cpus", "2"]) == 2
    assert "--num-cpus does not go with a cluster file" in capsys.readouterr().err
    assert main.run(["up", "--restart"]) == 2
    assert "--restart needs a cluster file" in capsys.readouterr().err


# --- the token


def test_a_token_is_for_its_owner_alone_and_one_that_is_not_is_closed(tmp_path):
    path = tmp_path / "auth_token"
    token.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert token.close(path) is False
    path.chmod(0o644)
    assert token.close(path) is True
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        token.create(path)


# --- its own commands, run as a node would


def test_the_setup_commands_install_this_checkout(tmp_path):
    config = yaml.safe_load(TEXT)
    for there, here in config["file_mounts"].items():
        if "raysched-src" in there:
            place = tmp_path / there.removeprefix("~/")
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", hosts.CHECKOUT / here, place], check=True)
    venv, index, build, shell = config["setup_commands"]
    assert "ray[default]==" in index  # hundreds of MB: here its place is taken by our own
    run = {"HOME": str(tmp_path), "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    for command in (venv, f"{build} --no-deps", shell, shell):
        done = subprocess.run(
            ["bash", "-c", command], env=run, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "env/bin/raysched").exists()
    (package,) = (tmp_path / "env/lib").glob("python3.*/site-packages/raysched")
    ours = hosts.CHECKOUT / "raysched"
    assert {path.relative_to(package) for path in package.rglob("*.py")} == {
        path.relative_to(ours) for path in ours.rglob("*.py")
    }
    assert (tmp_path / ".bashrc").read_text().count("RAY_AUTH_MODE=token") == 1


def test_every_command_of_the_file_is_one_that_bash_can_read():
    config = yaml.safe_load(TEXT)
    for name in config:
        if name.endswith("_commands"):
            for command in config[name]:
                subprocess.run(["bash", "-n", "-c", command], check=True)
