"""The doctor: what each fact means, by table; and what it sees of parts that are broken."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from dataclasses import replace
from inspect import getmembers, isfunction
from pathlib import Path

import pytest

from raysched.cli import main
from raysched.cli.doctor import checks, examine, look
from raysched.cli.doctor.checks import FULL_BYTES, SCARCE_BYTES, Level
from raysched.cli.doctor.facts import (
    Cluster,
    Facts,
    Listener,
    Node,
    Place,
    Scheduler,
    Software,
    State,
    Token,
)

CHECKS = [
    each
    for name, each in getmembers(checks, isfunction)
    if each.__module__ == checks.__name__ and not name.startswith("_")
]
HERE = Software(raysched="1.0", ray="2.60.0", python="3.11.7")
GIB = 1024**3
LOOPBACK = Listener(address="127.0.0.1", port=6379, process="gcs_server")
WORLD = Listener(address="0.0.0.0", port=6379, process="gcs_server")
WELL = Facts(
    here=HERE,
    place=Place(path="/home/me/raysched", exists=True, free_bytes=50 * GIB, total_bytes=99 * GIB),
    state=State(path="/home/me/raysched/state.db", exists=True, holders=(7,)),
    token=Token(path="/home/me/raysched/ray.token", mode=0o600),
    engine="20.10.24",
    cluster=Cluster(
        address="127.0.0.1:6379",
        named_by="the home",
        demands_token=True,
        listeners=(LOOPBACK,),
    ),
    scheduler=Scheduler(
        epoch=3,
        pid=7,
        node_id="n",
        home="/home/me/raysched",
        launcher="abc",
        software=HERE,
        ahead_s=0.01,
    ),
    nodes=(Node(name="head", software=HERE, ahead_s=0.0, engine="20.10.24"),),
)
PLACE, STATE, CLUSTER, SCHEDULER = WELL.place, WELL.state, WELL.cluster, WELL.scheduler
(NODE,) = WELL.nodes


def test_where_all_is_well_every_check_is_ok_and_has_evidence():
    for check in CHECKS:
        finding = check(WELL)
        assert (finding.level, finding.fix) == (Level.OK, None), finding
        assert finding.evidence


def test_where_nothing_is_known_no_check_fails_or_breaks():
    for check in CHECKS:
        assert check(Facts(here=HERE)).level in (Level.OK, Level.UNKNOWN, Level.WARN)


def of(**changed):
    return replace(WELL, **changed)


@pytest.mark.parametrize(
    ("check", "facts", "level", "evidence"),
    [
        (checks.home, of(place=Place(path="/x", exists=False)), "warn", "not there yet"),
        (
            checks.home,
            of(place=Place(path="/x", exists=True, problem="Read-only file system")),
            "fail",
            "Read-only",
        ),
        (checks.home, of(place=replace(PLACE, free_bytes=SCARCE_BYTES - 1)), "warn", "2.0 GiB"),
        (checks.home, of(place=replace(PLACE, free_bytes=FULL_BYTES - 1)), "fail", "128.0 MiB"),
        (checks.state, of(state=replace(STATE, exists=False)), "warn", "there is no"),
        (checks.state, of(state=replace(STATE, problem="malformed")), "fail", "malformed"),
        (checks.state, of(state=replace(STATE, holders=(7, 9))), "warn", "7, 9"),
        (checks.state, of(state=replace(STATE, holders=(9,))), "warn", "scheduler's is 7"),
        (checks.state, of(state=replace(STATE, holders=())), "ok", "is whole"),
        (checks.state, of(scheduler=None, state=replace(STATE, holders=(8,))), "ok", "8"),
        (checks.state, of(scheduler=None, state=replace(STATE, holders=(8, 9))), "warn", "8, 9"),
        (
            checks.state,
            of(state=None, scheduler=replace(SCHEDULER, database="PostgreSQL")),
            "ok",
            "PostgreSQL",
        ),
        (checks.engine, of(engine=None, engine_problem="no socket"), "warn", "no socket"),
        (checks.ray, of(cluster=Cluster(address=None, named_by=None)), "warn", "neither"),
        (checks.ray, of(cluster=replace(CLUSTER, problem="refused")), "fail", "refused"),
        (checks.token, of(token=Token(path="/t", mode=0o644)), "fail", "0644"),
        (checks.token, of(token=Token(path="/t", mode=0o640)), "fail", "others can read it"),
        (checks.token, of(token=Token(path="/t", mode=None)), "fail", "/t is not there"),
        (checks.token, of(token=None), "fail", "no file"),
        (checks.token, of(cluster=replace(CLUSTER, demands_token=False)), "warn", "demands none"),
        (
            checks.token,
            of(token=None, cluster=replace(CLUSTER, demands_token=None)),
            "warn",
            "no file",
        ),
        (checks.ports, of(cluster=replace(CLUSTER, listeners=())), "unknown", "not this machine's"),
        (checks.ports, of(cluster=replace(CLUSTER, listeners=(WORLD,))), "ok", "demanded"),
        (
            checks.ports,
            of(cluster=replace(CLUSTER, listeners=(WORLD,), demands_token=False)),
            "fail",
            "gcs_server 0.0.0.0:6379",
        ),
        (
            checks.ports,
            of(cluster=replace(CLUSTER, listeners=(LOOPBACK, WORLD), demands_token=None)),
            "warn",
            "1 of Ray's ports",
        ),
        (
            checks.ports,
            of(
                cluster=replace(
                    CLUSTER, listeners=(replace(WORLD, address="::"),), demands_token=False
                )
            ),
            "fail",
            ":::6379",
        ),
        (
            checks.ports,
            of(
                cluster=replace(
                    CLUSTER,
                    listeners=tuple(
                        replace(WORLD, address=a) for a in ("127.0.0.53", "::1", "::ffff:127.0.0.1")
                    ),
                    demands_token=False,
                )
            ),
            "ok",
            "loopback",
        ),
        (checks.scheduler, of(scheduler=None, scheduler_problem="none."), "fail", "none."),
        (checks.scheduler, of(scheduler=replace(SCHEDULER, home="/other")), "warn", "/other"),
        (checks.launcher, of(scheduler=replace(SCHEDULER, launcher=None)), "fail", "none"),
        (
            checks.launcher,
            of(scheduler=replace(SCHEDULER, launcher=None, launcher_state="starting")),
            "warn",
            "is starting",
        ),
        (checks.versions, of(scheduler=replace(SCHEDULER, software=None)), "warn", "older"),
        (
            checks.versions,
            of(scheduler=replace(SCHEDULER, software=replace(HERE, raysched="0.9"))),
            "warn",
            "raysched 0.9 at the scheduler, 1.0 here",
        ),
        (
            checks.versions,
            of(scheduler=replace(SCHEDULER, software=replace(HERE, ray="2.50.0"))),
            "fail",
            "2.50.0",
        ),
        (
            checks.versions,
            of(scheduler=replace(SCHEDULER, software=replace(HERE, python="3.12.1"))),
            "fail",
            "3.12.1",
        ),
        (checks.clock, of(scheduler=replace(SCHEDULER, ahead_s=None)), "unknown", "not tell"),
        (checks.clock, of(scheduler=replace(SCHEDULER, ahead_s=-0.6)), "warn", "0.60s behind"),
        (checks.clock, of(scheduler=replace(SCHEDULER, ahead_s=3600)), "fail", "1h ahead"),
        (checks.nodes, of(nodes=(NODE, replace(NODE, name="b", problem="dead"))), "fail", "dead"),
        (
            checks.nodes,
            of(nodes=(NODE, replace(NODE, name="b", software=replace(HERE, ray="2.1")))),
            "fail",
            "node b",
        ),
        (
            checks.node_clocks,
            of(nodes=(NODE, replace(NODE, name="b", ahead_s=-9.0))),
            "fail",
            "node b is 9.00s behind",
        ),
        (
            checks.node_engines,
            of(nodes=(NODE, replace(NODE, name="b", engine=None, engine_problem="no socket"))),
            "warn",
            "Docker on head (20.10.24); not on b: no socket",
        ),
        (checks.node_engines, of(nodes=(replace(NODE, problem="dead"),)), "unknown", "no node"),
    ],
)  # fmt: skip
def test_what_a_fact_means(check, facts, level, evidence):
    finding = check(facts)
    assert finding.level == level, finding
    assert evidence in finding.evidence
    assert bool(finding.fix) == (level in ("warn", "fail"))


def test_a_scheduler_that_does_not_understand_is_to_be_started_again():
    problem = "the scheduler could not answer. too many positional arguments"
    finding = checks.scheduler(of(scheduler=None, scheduler_problem=problem))
    assert finding.evidence == problem
    assert "another version" in finding.fix
    assert "`raysched down`, `raysched up`" in finding.fix


# --- real parts that are broken


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("HOME", str(tmp_path))


def found(home):
    return {finding.check: finding for finding in examine(home)}


def test_where_nothing_runs_yet_nothing_fails_and_the_way_up_is_shown(tmp_path, capsys):
    assert main.run(["doctor", "--home", str(tmp_path / "new"), "-o", "json"]) == 0
    told = capsys.readouterr()
    rows = {row["check"]: row for row in json.loads(told.out)}
    assert rows["Ray"]["fix"] == "run `raysched up`."
    assert rows["container engine here"]["evidence"] == f"there is no socket {tmp_path}/docker.sock"
    assert "0 fail" in told.err
    assert not (tmp_path / "new").exists()


def test_a_home_that_cannot_be_written_fails_the_examination(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main.run(["doctor", "--home", str(tmp_path / "file" / "home")]) == 1
    told = capsys.readouterr()
    assert "fail     home" in told.out
    assert "Not a directory" in told.out
    assert "fix: make it yours and writable" in told.out
    assert "1 fail" in told.err


def test_a_home_is_tried_and_left_as_it_was(tmp_path):
    assert found(tmp_path)["home"].level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_database_is_found(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    connection.close()
    assert found(tmp_path)["state database"].level is Level.OK
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(16_384))
    assert found(tmp_path)["state database"].level is Level.FAIL
    path.write_bytes(b"no database")
    assert "not a database" in found(tmp_path)["state database"].evidence


def test_whoever_has_the_state_database_open_is_seen(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        assert str(os.getpid()) in found(tmp_path)["state database"].evidence
    connection.close()


def test_a_token_that_others_can_read_is_found(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("secret")
    path.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    finding = found(tmp_path)["token"]
    assert finding.level is Level.FAIL
    assert finding.evidence == f"{path} has mode 0644: others can read it"
    path.chmod(0o600)
    assert found(tmp_path)["token"].level is not Level.FAIL


def test_the_token_that_ray_makes_by_itself_is_looked_at_too(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    assert "auth_token" in found(tmp_path / "home")["token"].evidence


def test_an_address_where_nobody_listens_is_found_at_once(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        findings = found(tmp_path)
    assert findings["Ray"].level is Level.FAIL
    assert "Connection refused" in findings["Ray"].evidence
    assert findings["scheduler"].level is Level.UNKNOWN


def test_a_port_that_is_open_to_the_world_is_found(tmp_path, monkeypatch):
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        facts = look.cluster(Facts(here=HERE), tmp_path)
    (listener,) = facts.cluster.listeners
    assert (listener.address, listener.port) == ("0.0.0.0", port)
    assert checks.ports(facts).level is Level.WARN  # whether it demands a token is not known


def test_a_ray_that_died_is_told_from_one_that_was_stopped(tmp_path):
    record = {"address": "127.0.0.1:1", "pid": 2**22 - 1}
    (tmp_path / "ray.json").write_text(
        json.dumps({**record, "temp_dir": "/tmp/x", "token_path": "/tmp/y"})
    )
    finding = found(tmp_path)["Ray"]
    assert finding.level is Level.FAIL
    assert "not alive any more" in finding.evidence


def test_what_is_found_cannot_forge_a_line(tmp_path, capsys):
    home = Path(tmp_path / "a\x1b[2J\nok  home")
    assert main.run(["doctor", "--home", str(home)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\nok  home" not in told
