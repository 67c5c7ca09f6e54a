"""What the local runner says of a job is what becomes of it on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import pytest

import raysched as rs
from raysched.errors import NotPicklable
from raysched.testing import LocalRunner, assert_sendable


@rs.job
def value(n=1):
    me = rs.current()
    me.metric("rows", 42)
    return {"n": [n, None, 1.5], "attempt": me.attempt, "slot": me.slot, "job": me.job}


@rs.job
def table():
    return pd.DataFrame({"n": [1, 2], "city": ["Łódź", None]})


@rs.job(retries=2)
def flaky():
    print("attempt", rs.current().attempt)
    if rs.current().attempt < 3:
        raise ConnectionError("refused\nin two lines")


@rs.job
def leaves():
    sys.exit(3)


@rs.job
def refused():
    return {"a": [1, {2}]}


@rs.job
def not_a_number():
    return float("nan")


@rs.job(env={"GREETING": "hello"})
def talks():
    print(os.environ["GREETING"])
    subprocess.run(["sh", "-c", "echo child"], check=True)
    os.write(1, b"raw \xff\0\r\nno end")


COLUMNS = [
    "job", "slot", "timezone", "trigger", "status", "reason", "attempts", "num_cpus", "exit_code",
    "error_type", "error_message", "params", "metrics", "result_kind", "result_json", "result_rows",
    "image", "tags", "oom_killed",
]  # fmt: skip


@pytest.mark.parametrize(
    "job", [value, table, flaky, leaves, refused, not_a_number, talks], ids=lambda job: job.name
)
def test_a_local_run_ends_as_one_on_a_cluster(client, job):
    client.deploy(job)
    real, local = client.trigger(job).wait("60s"), LocalRunner().run(job)
    ours, theirs = local.details(), real.details()
    assert {name: ours[name] for name in COLUMNS} == {name: theirs[name] for name in COLUMNS}
    assert client.find_row(real.id)["tags"] == []
    shown = ["attempt", "stream", "line_no", "line"]
    assert local.logs()[shown].values.tolist() == real.logs()[shown].values.tolist()
    tries = client.attempts(real.id)
    assert [each.status for each in local.attempts] == tries.status.tolist()
    assert [each.row["reason"] for each in local.attempts] == tries.reason.tolist()
    if theirs["result_kind"] == "parquet":
        pd.testing.assert_frame_equal(local.result(), real.result())


def test_what_cannot_travel_is_told_by_name():
    lock = __import__("threading").Lock()

    @rs.job
    def captures():
        return lock

    assert_sendable(value, table)
    with pytest.raises(NotPicklable, match="'lock'"):
        assert_sendable(captures)
