"""Notebook jobs on a real Ray: a kernel each, and nothing of it left afterwards."""

import os
import signal

import nbformat
import psutil
import pytest

import raysched as rs
from notebook_files import code, text, write
from raysched.errors import RunFailed
from support import until

PARAMETERS = code("region = 'EU'\nsteps = 1", "parameters")
WORK = """\
import os, subprocess, sys
import raysched as rs

me = rs.current()
for step in range(steps):
    me.progress(step + 1, steps)
me.metric("rows", 42)
print("to", region, me.run_id, me.attempt)
print("aside", file=sys.stderr)
_ = os.system("echo from a child")
"""
FOREVER = """\
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("ready", os.getpid(), child.pid, os.getppid())
time.sleep(600)
"""


@pytest.fixture
def deployed(client, tmp_path):
    """Deploy a notebook of these cells as a job of this name."""

    def _deployed(name, *cells, **options):
        file = write(tmp_path / f"{name}.ipynb", *cells)
        client.deploy(rs.notebook(file, **{"num_cpus": 0.1, **options}))
        return name

    return _deployed


def lines(client, run):
    frame = client.logs(run.id)
    return list(zip(frame.stream, frame.line, strict=True))


def processes(client, run):
    """Return the kernel, its child and its worker, once the run has told of them."""
    said = []
    until(lambda: said.extend(x.split() for x in client.logs(run.id).line if "ready" in x) or said)
    return [int(pid) for pid in said[0][1:]]


def gone(pids):
    return all(
        not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        for pid in pids
    )


def test_a_notebook_runs_with_its_parameters_and_comes_back_with_its_outputs(client, deployed):
    name = deployed(
        "report",
        text("# A report"),
        PARAMETERS,
        code(WORK, "work"),
        code("region.lower()"),
        params={"region": 'it\'s "US"\n'},
    )
    run = client.trigger(name, steps=3).wait("60s")
    assert run.status == "succeeded", run.explain()
    # Standard output and error are two pipes: which of two lines came first is not told.
    assert sorted(lines(client, run)) == [
        ("stderr", "aside"),
        ("stdout", f" {run.id} 1"),
        ("stdout", "from a child"),
        ("stdout", 'to it\'s "US"'),
    ]
    executed = run.result()
    assert [cell.get("execution_count") for cell in executed.cells] == [None, 1, None, 2, 3]
    assert executed.cells[2].metadata.tags == ["injected-parameters"]
    assert executed.cells[4].outputs[0].data["text/plain"] == repr('it\'s "us"\n')
    assert executed.metadata.raysched.run_id == run.id
    row = run.details()
    assert row["result_kind"] == "notebook"
    assert row["result_path"].endswith(".ipynb")
    assert (client.home / row["result_path"]).is_file()
    assert row["metrics"] == '{"rows": 42.0}'
    assert row["cpu_time_s"] > 0.1


def test_a_cell_that_fails_names_itself_and_leaves_no_result(client, deployed):
    bad = code("# divide\nprint('before')\n1 / 0", "divide")
    name = deployed("broken", PARAMETERS, bad, code("print('after')"), retries=1)
    run = client.trigger(name).wait("60s")
    assert run.status == "failed"
    row = run.details()
    assert row["reason"] == "cell 2 [divide] '# divide' failed: ZeroDivisionError: division by zero"
    assert (row["error_type"], row["result_path"]) == ("ZeroDivisionError", None)
    log = client.logs(run.id).line.str.cat(sep="\n")
    assert "----> 3 1 / 0" in log
    assert "\x1b" not in log
    assert "after" not in log
    (first, second) = client.attempts(run.id).traceback
    assert "ZeroDivisionError: division by zero" in first == second
    assert not (client.home / "results" / "broken").exists()


def test_each_failed_attempt_leaves_its_notebook_with_the_traceback_in_its_cell(client, deployed):
    bad = code("print('attempt', rs.current().attempt)\n1 / 0", "divide")
    name = deployed("partly", code("import raysched as rs"), bad, code("print('after')"), retries=1)
    run = client.trigger(name).wait("60s")
    again = run.retry().wait("60s")
    paths = [*client.attempts(run.id).partial_path, *client.attempts(again.id).partial_path]
    assert len(set(paths)) == 4
    left = [nbformat.read(client.home / path, as_version=4) for path in paths]
    for n, each in enumerate(left):
        nbformat.validate(each)
        told = each.metadata.raysched
        assert (told.run_id, told.attempt) == ((run, again)[n // 2].id, n % 2 + 1)
        assert [cell.execution_count for cell in each.cells] == [1, 2, None]
        printed, error = each.cells[1].outputs
        assert printed.text == f"attempt {n % 2 + 1}\n"
        assert (error.output_type, error.ename) == ("error", "ZeroDivisionError")
        assert "division by zero" in error.traceback[-1]
        assert each.cells[2].outputs == []
    assert (run.details()["partial_path"], run.details()["result_path"]) == (paths[1], None)
    with pytest.raises(RunFailed) as caught:
        run.result()
    assert paths[1] in caught.value.fix
    assert client.read_notebook(paths[1]) == left[1]


def test_a_kernel_that_dies_fails_the_run_and_not_its_worker(client, deployed):
    name = deployed("dies", code("print('before')"), code("import os\nos._exit(0)"))
    run = client.trigger(name).wait("60s")
    assert (run.status, run.details()["error_type"]) == ("failed", "DeadKernel")
    left = client.read_notebook(run.details()["partial_path"])
    assert left.cells[0].outputs[0].text == "before\n"


def test_leaving_early_is_no_success(client, deployed):
    name = deployed("leaves", code("exit()"))
    assert client.trigger(name).wait("60s").status == "failed"


def test_what_is_written_without_python_is_in_the_log_once(client, deployed):
    name = deployed("raw", code("import os\n_ = os.write(1, b'raw\\n')"))
    run = client.trigger(name).wait("60s")
    assert lines(client, run) == [("stdout", "raw")]


def test_at_its_timeout_the_kernel_and_its_children_are_ended(client, deployed):
    name = deployed("slow", code(FOREVER), timeout="6s")
    run = client.trigger(name)
    pids = processes(client, run)
    assert run.wait("60s").explain() == "ran longer than timeout=6s"
    assert run.status == "timed_out"
    assert run.details()["partial_path"] is None
    until(lambda: gone(pids))


def test_a_cancelled_notebook_leaves_no_kernel(client, deployed):
    run = client.trigger(deployed("cancelled", code(FOREVER)))
    pids = processes(client, run)
    run.cancel()
    assert run.wait("60s").status == "cancelled"
    until(lambda: gone(pids))


def test_a_killed_worker_leaves_no_kernel(client, deployed):
    run = client.trigger(deployed("orphan", code(FOREVER)))
    pids = processes(client, run)
    os.kill(pids[-1], signal.SIGKILL)
    assert run.wait("60s").status == "lost"
    until(lambda: gone(pids))
