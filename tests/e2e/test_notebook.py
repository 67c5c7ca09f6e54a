"""Working from a notebook: real kernels, one Ray that the first of them starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kernel import Kernel
from raysched.cluster import local

pytestmark = pytest.mark.timeout(300)

FIRST = """
import time
import raysched as rs
client = rs.connect(num_cpus=3)

@rs.job(name="steps")
def steps(seconds: float = 0.0, n: int = 4):
    me = rs.current()
    for i in range(n):
        print("step", i, "<b>")
        me.progress(i + 1, n)
        me.metric("rows", 100 * (i + 1))
        time.sleep(seconds / n)
    return n

client.deploy(steps)
"""


class Notebook:
    """Starts kernels, one after the other, for one home."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._env = {**env, "RAYSCHED_HOME": str(self.home), "PYTHONHASHSEED": "random"}
        self.kernels: list[Kernel] = []

    def kernel(self) -> Kernel:
        self.kernels.append(Kernel(self.folder, self._env))
        return self.kernels[-1]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    notebook = Notebook(tmp_path_factory.mktemp("notebook"))
    yield notebook
    for kernel in notebook.kernels:
        kernel.kill()
    if local.find(notebook.home):
        local.stop(notebook.home)


@pytest.fixture(scope="module")
def cell(notebook):
    """A kernel that has connected and deployed a job."""
    kernel = notebook.kernel()
    kernel(FIRST)
    kernel("client.trigger('steps').wait()")  # the worker is warm from now on
    return kernel


def test_a_watched_run_is_shown_in_one_place_until_it_ends(cell):
    shown = cell("run = client.trigger('steps', seconds=2.5)\nrun.watch()")
    (place,) = shown.displays
    pages = [data["text/html"] for data in place]
    assert len(pages) >= 3
    assert len(pages) < 14  # looked at, not hammered
    assert any("running" in page and 'class="bar"' in page for page in pages)
    assert "succeeded" in pages[-1]
    assert "step 3 &lt;b&gt;" in pages[-1]
    assert "rows 400" in pages[-1]
    assert all(len(page.encode()) <= 20_000 for page in pages)
    assert "succeeded in" in shown.result["text/plain"]
    assert "step 3" not in shown.result["text/html"]  # it stands right above
    assert "step 3" in cell("run").result["text/html"]


def test_a_short_wait_shows_nothing_and_a_long_one_its_progress(cell):
    assert cell("client.trigger('steps').wait();").displays == []
    shown = cell("client.trigger('steps', seconds=4).result()")
    (place,) = shown.displays
    assert "running" in place[0]["text/plain"]
    assert "succeeded" in place[-1]["text/plain"]
    assert shown.result["text/plain"] == "4"


@pytest.mark.parametrize("method", ["wait", "watch", "result"])
def test_an_interruption_gets_out_at_once_harms_nothing_and_says_so(cell, method):
    begun = cell.send(f"run = client.trigger('steps', seconds=5)\nprint('on')\nrun.{method}()")
    time.sleep(1.0)
    at = time.monotonic()
    cell.interrupt()
    shown = cell.finish(begun)
    assert time.monotonic() - at < 0.5
    assert shown.error.startswith("KeyboardInterrupt")
    assert "the run goes on" in shown.displays[-1][-1]["text/html"]
    assert cell("run.status in ('running', 'queued')").result["text/plain"] == "True"
    assert cell("run.cancel(); run.wait().status").result["text/plain"] == "'cancelled'"
