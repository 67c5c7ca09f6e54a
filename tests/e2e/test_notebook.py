"""Working from a notebook: real kernels, one Ray that the first of them starts."""

from __future__ import annotations

import os
import time
from ast import literal_eval
from html import escape
from pathlib import Path

import psutil
import pytest

from kernel import Kernel
from raysched.cluster import local
from support import until

pytestmark = pytest.mark.timeout(300)

FIRST = """
import time
import raysched as rs
client = rs.connect(num_cpus=3)

runs = []

@rs.job(name="steps", overlap="allow")
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

INTERRUPTED = """
run = client.trigger('steps', seconds=6)
runs.append(run)
try:
    run.{method}()
except KeyboardInterrupt:
    out = time.time()
    raise
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


def test_what_a_deploy_warns_of_is_shown_whole_above_the_frame_that_cuts_it(cell):
    cell("vast = rs.job(name='vast', num_gpus=64)(lambda: None)")
    shown = cell("client.deploy(vast)")
    ((page,),) = shown.displays
    whole = literal_eval(
        cell("client.deploy(vast, show=False).warnings[0][0]").result["text/plain"]
    )
    assert len(whole) > 50
    assert whole not in shown.result["text/html"]
    assert f"<td>{escape(whole)}</td>" in page["text/html"]
    assert whole in page["text/plain"]
    cell("client.delete('vast')")


def test_a_short_wait_shows_nothing_and_a_long_one_its_progress(cell):
    assert cell("client.trigger('steps').wait();").displays == []
    shown = cell("client.trigger('steps', seconds=4).result()")
    (place,) = shown.displays
    assert "running" in place[0]["text/plain"]
    assert "succeeded" in place[-1]["text/plain"]
    assert shown.result["text/plain"] == "4"


@pytest.mark.parametrize("method", ["wait", "watch", "result"])
def test_an_interruption_gets_out_at_once_harms_nothing_and_says_so(cell, method):
    begun = cell.send(INTERRUPTED.format(method=method))
    time.sleep(1.0)
    at = time.time()
    cell.interrupt()
    shown = cell.finish(begun)
    assert float(cell("out").result["text/plain"]) - at < 0.5
    assert shown.error.startswith("KeyboardInterrupt")
    assert "the run goes on" in shown.displays[-1][-1]["text/html"]
    assert cell("run.status in ('running', 'queued')").result["text/plain"] == "True"


def test_the_interrupted_runs_came_to_their_ends(cell):
    ended = cell("{run.wait().status for run in runs}").result["text/plain"]
    assert ended == "{'succeeded'}"
    assert cell("len(runs)").result["text/plain"] == "3"


# ------------------------------------------------------------------ from a cell to a schedule

CELL = """
# a comment that says {comment}
FACTOR = {factor}
def times(n):
    return n * FACTOR

@rs.job(name="durable", schedule=rs.every("1s"))
def durable():
    with open({path!r}, "a") as out:
        print(times(7), file=out)
    return times(7)
"""
DEPLOY = "import raysched as rs\nclient = rs.connect()\nrow = client.deploy(durable).iloc[0]\n"
SEEN = "row.action, bool(row.paused)"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_cell_becomes_a_schedule_that_outlives_its_kernel_and_is_not_reset(notebook, cell):
    path = notebook.folder / "marks"

    def text(comment: str, factor: int = 6) -> str:
        return CELL.format(comment=comment, factor=factor, path=str(path))

    first = notebook.kernel()
    first("import raysched as rs" + text("one"))
    assert first(DEPLOY + SEEN).result["text/plain"] == "('created', False)"
    pid = int(first("import os\nos.getpid()").result["text/plain"])
    until(lambda: lines(path))
    # The same cell again, and below another comment, is the same version.
    first(text("two\n\n# and more"))
    assert first(DEPLOY + SEEN).result["text/plain"] == "('unchanged', False)"
    first.kill()
    until(lambda: not psutil.pid_exists(pid))
    before = len(lines(path))
    until(lambda: len(lines(path)) >= before + 2)
    assert set(lines(path)) == {"42"}
    # A new kernel: the same code is the same version, a new value another; the pause stays.
    second = notebook.kernel()
    second("import raysched as rs" + text("three"))
    second("rs.connect().pause('durable')")
    assert second(DEPLOY + SEEN).result["text/plain"] == "('unchanged', True)"
    decided = second("d = client.decisions('durable'); (len(d), len(d.slot.unique()))")
    second(text("three", factor=5))
    assert second(DEPLOY + SEEN).result["text/plain"] == "('updated', True)"
    shown = second("client.trigger('durable').result()")
    assert shown.result["text/plain"] == "35"
    assert lines(path)[-1] == "35"
    total, distinct = eval(decided.result["text/plain"])
    assert total == distinct >= 3
    second("client.delete('durable')")
    second.kill()


def test_what_cannot_travel_from_a_notebook_is_named(cell):
    cell("import threading, os\nlock = threading.Lock()\ntable = os.urandom(12 << 20)")
    cell("def guarded():\n    return lock\n@rs.job(name='a')\ndef a():\n    return guarded()")
    shown = cell.fails("client.deploy(a)")
    assert "the global 'lock' (used by guarded()) is of type 'lock'" in shown.error
    cell("@rs.job(name='b')\ndef b():\n    return len(table)")
    shown = cell("client.deploy(b);")
    assert "the global 'table' weighs 12.0 MiB (bytes)" in shown.text
    cell("client.delete('b')")


def test_a_failing_cell_function_tells_its_line(cell):
    cell("@rs.job(name='fails')\ndef fails():\n    x = 1\n    raise ValueError(x)\n")
    cell("client.deploy(fails)\nrun = client.trigger('fails').wait()")
    shown = cell("print(client.attempts(run.id).traceback.iloc[0])\nrun")
    assert 'File "<notebook>", line 4, in fails' in shown.text
    assert "ValueError: 1" in shown.result["text/html"]


# ------------------------------------------------------------------ magics


def test_the_magics_make_and_list_jobs_and_runs(notebook, cell):
    path = notebook.folder / "never"
    cell("%load_ext raysched\nn, frame = 20, [1, 2]\nname = 'x'")
    shown = cell(
        "%%rsched '0 6 * * *' --name from-a-cell --tz America/New_York\n"
        "total = n + sum(frame)\ntotal * 2"
    )
    assert "job from-a-cell is created" in shown.text
    assert " 06:00:00 E" in shown.text
    result = cell("client.trigger('from-a-cell').result()")
    assert result.result["text/plain"] == "46"
    shown = cell(
        "%%rsched '0 6 * * *' --name from-a-cell --tz America/New_York\n"
        "total = n + sum(frame)\ntotal * 2"
    )
    assert "job from-a-cell is unchanged" in shown.text
    frame = cell("%runs --job from-a-cell --status succeeded --since 1h")
    assert "from-a-cell@" in frame.result["text/plain"]
    assert cell("found = %runs --since all\ntype(found).__name__").result["text/plain"] == (
        "'DataFrame'"
    )
    for words, told in {
        "%%rsched '0 0 31 2 *' --name a\n1": "never matches",
        "%%rsched '61 * * * *' --name a\n1": "field 1 (minute)",
        "%%rsched '0 6 * * *'\n1": "--name",
        "%%rsched --name a\n1": "CRON",
        "%%rsched 0 6 * * * --name a\n1": "unrecognized arguments: 6",
        "%%rsched '0 6 * * * --name a\n1": "No closing quotation",
        "%%rsched '0 6 * * *' --name '../a'\n1": "job name '../a' is refused",
        "%%rsched '0 6 * * *' --name '{name}$name'\n1": "'{name}$name' is refused",
        "%%rsched '0 6 * * *' --name a --tz CEST\n1": "is not a time zone",
        f"%%rsched '0 6 * * *' --name a\n!touch {path}": "cannot be a job",
        "%%rsched '0 6 * * *' --name a\nx = = 1": "line 1 below %%rsched",
        "%runs --status faild": "invalid choice: 'faild'",
        "%runs --since soon": "since='soon'",
        f"%runs --job x;touch {path}": "unrecognized arguments",
    }.items():
        begun = cell.finish(cell.send(words))
        assert told in begun.text, (words, begun)
        assert "Traceback" not in begun.text
    assert not path.exists()
    assert cell("'a' in set(client.jobs().job)").result["text/plain"] == "False"


AS_HERE = """
with open("/dev/null") as file: file.read()
if count == 0: limit = 30
def add():
    global count
    count += 1
add()
[late([20, 40]), count]
"""


def test_a_cell_gives_on_a_worker_what_it_gives_in_the_notebook(cell):
    cell("%load_ext raysched\nlimit, count = 15, 0")
    cell("def late(minutes):\n    return [each for each in minutes if each > limit]")
    cell(f"%%rsched '0 6 * * *' --name as-here{AS_HERE}")
    here = cell(AS_HERE).result["text/plain"]
    assert here == "[[40], 1]"
    runs = "[client.trigger('as-here').result() for _ in range(2)]"
    assert cell(runs).result["text/plain"] == f"[{here}, {here}]"


def test_without_a_scheduler_the_magics_say_so_and_reprs_do_not_hang(notebook, cell):
    cell("run = client.trigger('steps').wait()\nlater = client.trigger('steps', seconds=30)")
    cell("import ray\nray.shutdown()")
    begin = time.monotonic()
    shown = cell("later")
    assert time.monotonic() - begin < 5
    assert "not answering" in shown.result["text/html"]
    assert "connected to no Ray cluster any more" in shown.result["text/plain"]
    assert "succeeded" in cell("run").result["text/plain"]
    assert cell("ray.is_initialized()").result["text/plain"] == "False"
    alone = notebook.kernel()
    alone("%load_ext raysched\nimport os\nos.environ['RAYSCHED_HOME'] += '-other'")
    shown = alone.finish(alone.send("%%rsched '0 6 * * *' --name a\n1"))
    assert "no Ray is running" in shown.text
    alone.kill()
