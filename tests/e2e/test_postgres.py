"""A scheduler whose state lies in PostgreSQL, and readers who are told of the home alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import raysched as rs
from raysched.cluster import local
from raysched.errors import Conflict
from raysched.store import whereabouts


def test_what_no_file_holds_is_read_by_the_home_alone_with_the_scheduler_up_and_down(
    tmp_path, postgres_url
):
    import ray

    home = tmp_path / "home"

    @rs.job
    def greet():
        print("hello")

    def cli(*arguments):
        program = "from raysched.cli.main import main; main()"
        command = [sys.executable, "-c", program, *arguments, "--home", str(home)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    try:
        client = rs.connect(home, num_cpus=1, state_url=postgres_url, seal_every_s=3600)
        client.deploy(greet)
        run = client.trigger(greet)
        assert run.wait("60s").status == "succeeded"
        assert list(rs.runs(home).run_id) == [run.id]
        assert [row["run_id"] for row in json.loads(cli("runs", "-o", "json"))] == [run.id]
    finally:
        ray.shutdown()
        local.stop(home)  # as a crash does: nothing is sealed
    assert not list(home.glob("runs/**/*.parquet"))
    assert [row["run_id"] for row in json.loads(cli("runs", "-o", "json"))] == [run.id]
    assert "hello" in cli("logs", run.id[:12])
    cli("history", "--export", str(tmp_path / "runs.csv"))
    assert run.id in (tmp_path / "runs.csv").read_text()


def test_a_home_whose_state_is_elsewhere_is_not_begun_anew(tmp_path, postgres_url):
    import ray

    home = tmp_path / "home"
    try:
        rs.connect(home, num_cpus=1, state_url=postgres_url)
    finally:
        ray.shutdown()
        local.stop(home)
    try:
        with pytest.raises(Conflict, match="postgresql") as raised:
            rs.connect(home, num_cpus=1)
        assert "--state-url" in raised.value.fix
        assert not ray.is_initialized()
        assert local.find(home) is None

        # A client that does not see the home leaves it to the scheduler.
        local.start(home, num_cpus=1)
        with pytest.raises(Conflict, match="postgresql") as raised:
            rs.connect(home)
        assert "--state-url" in raised.value.fix
        assert whereabouts.noted(home) == postgres_url
        assert not (home / "state.db").exists()
        assert rs.connect(home, state_url=postgres_url).status()["epoch"] == 2
    finally:
        ray.shutdown()
        local.stop(home)
