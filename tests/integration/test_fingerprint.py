"""The version of a job depends on what its code says, and on nothing else."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysched.runners.fingerprint import fingerprint

REPORT = '''
import dataclasses
import wsgiref
import raysched as rs
import _helper
import _placed
from _helper import FACTOR, Point
from regions.names import NAMES

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
    return [Shape().area(region), Point(1), NAMES, _helper.scaled(2)]

@rs.job(schedule="@daily")
def submodule():
    return wsgiref.validate.validator

shorter = rs.job(name="shorter", schedule="@daily")(lambda x=1: (Point(x), KNOWN))

@rs.job(schedule="@daily")
def beside():
    return open(__file__.replace("report.py", "data.csv"))

@rs.job(schedule="@daily")
def below_a_helper():
    return [name for name in (1, 2) if _placed.__file__]
'''
HELPER = """
import logging
import warnings

warnings.warn("it is old", DeprecationWarning)
FACTOR = 3
LOG = logging.getLogger(__name__)
LEVELS = {("low", 1), ("high", 2), None}

class Point:
    kinds = {None, ("round", 1), "square"}
    def __init__(self, x):
        self.x = x

def scaled(x):
    LOG.info("scaled")
    return x * 2
"""
SETS = """
import abc
import dataclasses
import datetime
import enum
import weakref
import raysched as rs

class Color(enum.Enum):
    RED = "r"
    GREEN = "g"
    BLUE = "b"
    def is_warm(self):
        return self in WARM

WARM = {Color.RED, Color.GREEN}

@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    parts: frozenset

class Tags(set):
    pass

class Base(abc.ABC):
    pass

for each in (Color, Row, Tags, list, dict):
    Base.register(each)

first, second = Row("one", frozenset("abc")), Row("two", frozenset("xyz"))
NOTHING, EVERYTHING = object(), object()

VALUES = {
    "tuples": {("a", 1), ("b", 2), ("c", None), ("d", (1, "x"))},
    "enums": {Color.RED, Color.GREEN, Color.BLUE},
    "an enum that asks a set of itself": Color,
    "none": {None, "a", "b", 1.5},
    "mixed": {None, True, "a", 2, 3.5, b"x", (1, "2"), frozenset({"q", "r"}), Color.RED},
    "nested": {frozenset("ab"), frozenset({"c", frozenset("def")}), frozenset()},
    "many strings": {f"customer {n}" for n in range(5000)},
    "many tuples": {(f"customer {n}", (n, str(n))) for n in range(3000)},
    "dict of sets": {"a": {("x", 1), ("y", 2)}, "b": {Color.RED, Color.BLUE}, "c": {"q", "w"}},
    "instances": {first, second, Row("three", frozenset())},
    "instances that are used elsewhere": [{first, second}, first, second, {second, first}],
    "sentinels": [{NOTHING, EVERYTHING}, EVERYTHING, NOTHING],
    "classes": {Color, Row, Tags, Base, int},
    "functions": {lambda: 1, lambda: 2, lambda: (1, 2)},
    "dates": {datetime.date(2026, 1, day) for day in range(1, 9)},
    "a class of sets": Tags(["a", "b", "c", "d"]),
    "weak": weakref.WeakSet([Color, Row, Tags, Base]),
    "registered": Base,
}

def captures(value):
    return lambda: value

def defaults(value):
    def inner(a=value, *, b=value):
        return a, b
    return inner

for n, value in enumerate(VALUES.values()):
    globals()[f"closure_{n}"] = rs.job(name=f"closure-{n}")(captures(value))
    globals()[f"default_{n}"] = rs.job(name=f"default-{n}")(defaults(value))

@rs.job(name="global")
def uses_a_global():
    return VALUES

@rs.job
def constant(x=1):
    return x in {1, 2, "a", "b", (1, "c"), None, 1.5, b"x"}
"""
ETL = """
import raysched as rs

class Row:
    other = {None, ("than", "the"), "Row", "of the file of the same name"}

@rs.job
def etl():
    return Row()
"""
CASES = [
    "report", "shorter", "submodule", "etl", "global", "constant",
    *(f"{kind}-{n}" for kind in ("closure", "default") for n in range(18)),
]  # fmt: skip
REPORT_FILES = {
    "report.py": REPORT,
    "_helper.py": HELPER,
    "_placed.py": "",
    "regions/__init__.py": "",
    "regions/names.py": 'NAMES = {("EU", "Europe"), ("US", None)}',
}
FILES = REPORT_FILES | {"sets.py": SETS, "etl/report.py": ETL}
PIN = """
import json
import sys
if "more" in sys.argv:
    import warnings, wsgiref.validate
    warnings.simplefilter("always")
from raysched.client.folder import scan
from raysched.runners.pinned import pin
for folder in json.loads(sys.argv[1]):
    result = scan(folder)
    assert not result.faults, result.faults
    pinned = {each.job.name: pin(each.job, result.folder) for each in result.found}
    print(json.dumps({name: each.code_hash for name, each in pinned.items()}))
"""

Versions = dict[str, str]


def write(folder: Path, files: dict[str, str] = FILES) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def versions(*folders: Path, seed: str = "0", more: bool = False) -> list[Versions]:
    """Return what a new process with this hash seed finds in each folder, by job.

    With `more` it has imported other modules before, and other warnings are shown.
    """
    paths = json.dumps([str(folder) for folder in folders])
    done = subprocess.run(
        [sys.executable, "-c", PIN, paths, *(["more"] if more else [])],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return write(tmp_path_factory.mktemp("here") / "jobs")


@pytest.fixture(scope="module")
def by_seed(here):
    """What processes with other hash seeds find; the first compiles what the others read."""
    found = [versions(here, seed=seed)[0] for seed in ("0", "1", "2")]
    assert list(here.rglob("*.pyc"))
    return [*found, versions(here, seed="random", more=True)[0]]


@pytest.mark.parametrize("job", CASES)
def test_it_is_the_same_in_every_process_compiled_or_from_the_cache(by_seed, job):
    assert len({found[job] for found in by_seed}) == 1


@pytest.fixture(scope="module")
def elsewhere(here, tmp_path_factory):
    """What is found in the same files in another folder, and of a single one of them."""
    folder = tmp_path_factory.mktemp("there") / "deeper" / "copied"
    shutil.copytree(here, folder, ignore=shutil.ignore_patterns("__pycache__"))
    below = write(tmp_path_factory.mktemp("below") / "jobs" / "etl").parent
    for name in ("_helper.py", "_placed.py", "regions"):
        (below / "etl" / name).rename(below / name)
    return versions(folder, folder / "sets.py", below)


@pytest.mark.parametrize("job", CASES)
def test_it_is_the_same_wherever_the_folder_lies(by_seed, elsewhere, job):
    assert all(found[job] == by_seed[0][job] for found in elsewhere if job in found)


@pytest.mark.parametrize("job", ["beside", "below_a_helper"])
def test_it_is_another_elsewhere_if_the_job_looks_at_where_code_lies(by_seed, elsewhere, job):
    assert elsewhere[0][job] != by_seed[0][job]
    assert len({found[job] for found in by_seed}) == 1


SPELLS = """
import xml
import raysched as rs

@rs.job
def spells():
    return [xml.dom.minidom.parseString(each).documentElement.tagName for each in ("<a/>",)]
"""
SEND = """
import sys
from raysched.client.folder import scan
from raysched.runners.pinned import pin
assert "xml.dom" not in sys.modules
(found,) = scan(sys.argv[1]).found
pinned = pin(found.job)
sys.stdout.buffer.write(pinned.code_hash.encode() + b"\\n" + pinned.code)
"""
LOAD = """
import pickle, sys
assert "xml.dom" not in sys.modules
print(pickle.load(sys.stdin.buffer)())
"""


def test_submodules_that_the_code_spells_travel_whoever_imports_them(tmp_path):
    def run(script: str, *args: str, given: bytes = b"") -> bytes:
        command = [sys.executable, "-c", script, *args]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    found = set()
    for imported in ("xml", "xml.dom.minidom"):
        text = SPELLS.replace("import xml", f"import {imported}")
        folder = write(tmp_path / imported, {"spells.py": text})
        version, code = run(SEND, str(folder)).split(b"\n", 1)
        assert run(LOAD, given=code) == b"['a']\n"
        found.add(version)
    assert len(found) == 1


EDITS = [
    ("report.py", '"somewhere else"', '"elsewhere"'),
    ("report.py", "total: int = 0", "total: int = 1"),
    ("report.py", 'region: str = "EU", again', 'region: str = "US", again'),
    ("report.py", "1, 2, 3, 99", "1, 2, 3, 98"),
    ("report.py", "sides = 4", "sides = 5"),
    ("_helper.py", "FACTOR = 3", "FACTOR = 4"),
    ("_helper.py", "self.x = x", "self.x = -x"),
    ("_helper.py", "return x * 2", "return x * 3"),
    ("_helper.py", '("low", 1), ("high", 2)', '("low", 2), ("high", 1)'),
    ("_helper.py", 'None, ("round", 1)', '("round", 1), None, 0'),
    ("regions/names.py", '("US", None)', '("US", 0)'),
]


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """What is found in a folder for each edit, and in one without any."""
    folders = [write(tmp_path_factory.mktemp("edited") / "jobs", REPORT_FILES)]
    for file, old, new in EDITS:
        assert old in REPORT_FILES[file]
        files = REPORT_FILES | {file: REPORT_FILES[file].replace(old, new)}
        folders.append(write(tmp_path_factory.mktemp("edited") / "jobs", files))
    return [found["report"] for found in versions(*folders)]


@pytest.mark.parametrize("n", range(1, len(EDITS) + 1))
def test_it_changes_with_any_change_of_what_the_job_does(edited, n):
    assert edited.count(edited[n]) == 1


# ------------------------------------------------------------------------ what is pickled


@dataclass(frozen=True, eq=False)
class Clash:
    """A value whose hash is that of all others: a set holds them in the order of arrival."""

    value: Any

    def __hash__(self) -> int:
        return 0


def said(value: object) -> str:
    return fingerprint(pickle.dumps(value, protocol=5))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda below: (
        st.tuples(below, below)
        | st.lists(below, max_size=3)
        | st.lists(below, max_size=3).map(lambda each: {Clash(value) for value in each})
        | st.lists(below, max_size=3).map(lambda each: frozenset(map(Clash, each)))
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(VALUES, max_size=5).map(lambda each: list(map(Clash, each))), st.randoms())
def test_the_order_of_a_set_makes_no_difference(elements, random):
    mixed = random.sample(elements, len(elements))
    assert said(set(mixed)) == said(set(elements))
    assert said([set(mixed), elements]) == said([set(elements), elements])
    assert said([elements, frozenset(mixed)]) == said([elements, frozenset(elements)])
    assert said({Clash(set(mixed)), *mixed}) == said({Clash(set(elements)), *elements})


def test_neither_does_the_order_of_a_set_that_is_in_one_of_its_own_elements():
    def cycle(*names: str) -> set[Clash]:
        found: set[Clash] = set()
        for each in names:
            found.add(Clash([each, found]))
        return found

    assert said(cycle("a", "b", "c")) == said(cycle("c", "a", "b"))
    assert said(cycle("a", "b", "c")) != said(cycle("a", "b", "d"))


one, same, other = Clash([1]), Clash([1]), Clash([2])
itself: list[Any] = []
itself.append(itself)


@pytest.mark.parametrize(
    ("value", "another"),
    [
        ([one, one], [one, same]),
        ([{one}, one], [{one}, same]),
        ([{one, same}, one], [{one, same}, other]),
        ([{one, other}, one], [{one, other}, other]),
        ([{one}, {one}], [{one}, {same}]),
        ({(1, 2), (3, 4)}, {(1, 4), (3, 2)}),
        ({(1, 2), (3, 4)}, {(1, 2, 3, 4)}),
        ({("a", "b"), "c"}, {("a",), ("b", "c")}),
        ({frozenset({1, 2}), frozenset({3})}, {frozenset({1}), frozenset({2, 3})}),
        ({frozenset({1, 2, 3})}, {frozenset({1, 2}), 3}),
        ([{1}, {2}], [{2}, {1}]),
        ([{1}, {2}], [{1, 2}]),
        ([{1}, 2], [{1, 2}]),
        ({"a": {1}, "b": {2}}, {"a": {2}, "b": {1}}),
        ({1, 2}, {1, "2"}),
        ({1}, {True}),
        ({1}, {1.0}),
        ({None}, {"None"}),
        ({"a"}, {b"a"}),
        ({("a", "b c")}, {("a b", "c")}),
        ({1, 2}, frozenset({1, 2})),
        ({1, 2}, [1, 2]),
        (set(), frozenset()),
        ([1, [2]], [[1], 2]),
        (itself, [itself]),
        (tuple("a" * 300), (*("a" * 299), "b")),
    ],
)
def test_what_differs_is_told_apart(value, another):
    assert said(value) != said(another)
