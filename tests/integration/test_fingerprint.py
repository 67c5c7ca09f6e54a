"""The version of a job depends on what its code says, and on nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = '''
import dataclasses
import raysched as rs
from _helper import FACTOR, Point

KNOWN = {"EU", "US", "APAC", "LATAM", "MEA"}
NUMBERS = frozenset({1, 2, 3, 99})

@dataclasses.dataclass
class Row:
    region: str
    total: int = 0

class Shape:
    sides = 4
    def area(self, region):
        return Row(region, FACTOR)

@rs.job(schedule="@daily")
def report(region: str = "EU", again=None):
    """Say something."""
    if region not in {"EU", "US", "somewhere else"} and region not in KNOWN | NUMBERS:
        return report.function(region="EU")
    return [Shape().area(region), Point(1)]
'''
HELPER = """
FACTOR = 3

class Point:
    def __init__(self, x):
        self.x = x
"""
PIN = """
import sys
from raysched.client.folder import scan
from raysched.runners import code
from raysched.runners.fingerprint import fingerprint
result = scan(sys.argv[1])
assert not result.faults, result.faults
(found,) = result.found
print(fingerprint(code.pin(found.job.function, name="report", folder=result.folder)))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "report.py").write_text(JOB)
    (tmp_path / "_helper.py").write_text(HELPER)
    return tmp_path


def version(folder: Path, seed: str, *, cache: bool) -> str:
    """Return the fingerprint that a new process with this hash seed finds.

    Without `cache` no compiled file is left, which would hide a change of the same second.
    """
    done = subprocess.run(
        [sys.executable, "-c", PIN, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "" if cache else "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_it_is_the_same_in_every_process_compiled_or_from_the_cache(folder):
    assert len({version(folder, seed, cache=True) for seed in ("0", "1", "2", "random")}) == 1
    assert list(folder.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("report.py", '"somewhere else"', '"elsewhere"'),
        ("report.py", "total: int = 0", "total: int = 1"),
        ("report.py", 'region: str = "EU", again', 'region: str = "US", again'),
        ("report.py", "1, 2, 3, 99", "1, 2, 3, 98"),
        ("report.py", "sides = 4", "sides = 5"),
        ("_helper.py", "FACTOR = 3", "FACTOR = 4"),
        ("_helper.py", "self.x = x", "self.x = -x"),
    ],
)
def test_it_changes_with_any_change_of_what_the_job_does(folder, file, old, new):
    before = version(folder, "0", cache=False)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert version(folder, "0", cache=False) != before
