"""The examples of the README, and those of the docs that need a cluster, on a real Ray.

Each page is run as a reader would run it: a process of its own, a new home directory, no
options. The first starts Ray and the scheduler, the others find them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raysched.cluster import local

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(300)

DATAFRAME_OF = """
def dataframe_of(day, region):
    import pandas as pd

    return pd.DataFrame({"day": [str(day)] * 2, "region": region, "delay_min": [3.5, 12.0]})
"""

AFTER_THE_FIRST = """
assert client.jobs().job.tolist() == ["daily_delays"]
assert client.jobs().next_slot[0].tz_convert("America/New_York").hour == 6
assert run.status == "succeeded"
assert run.result().region.tolist() == ["US", "US"]
assert client.runs(since="24h", status="failed").empty
client.seal()  # where a reader would wait for two minutes
"""

AT_THE_END = """
sealed = pd.read_parquet("~/raysched/runs")
assert sealed.run_id.tolist() == [run.id]
decided = simulate([daily_delays], "2026-01-01T00:00Z", "2027-01-01T00:00Z").decisions
assert decided.decision.tolist() == ["fired"] * 365
"""


def blocks(page: str, kind: str) -> list[str]:
    """Return the fenced blocks of one kind."""
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs a script in a home directory of its own, and one Ray for all."""
    folder = tmp_path_factory.mktemp("reader")
    env = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    for name in ("RAYSCHED_HOME", "RAY_ADDRESS"):
        env.pop(name, None)

    def run(script: str) -> None:
        file = folder / "script.py"
        file.write_text(script)
        done = subprocess.run(
            [sys.executable, file],
            check=False,  # the assertion below shows what it printed
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    yield run
    if local.find(folder / "raysched"):
        local.stop(folder / "raysched")


def test_the_readme_does_what_it_says(run):
    first, *others = blocks("README.md", "python")
    assert len(others) == 2
    run("\n".join([DATAFRAME_OF, first, AFTER_THE_FIRST, *others, AT_THE_END]))


@pytest.mark.parametrize("page", ["docs/jobs.md", "docs/history.md", "docs/notebooks.md"])
def test_the_examples_of_the_docs_that_need_a_cluster_run(run, page):
    run("\n".join(blocks(page, "python cluster")))


def test_no_page_with_such_examples_is_left_out():
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    told = {"docs/jobs.md", "docs/history.md", "docs/notebooks.md"}
    assert {p for p in pages if blocks(p, "python cluster")} == told
