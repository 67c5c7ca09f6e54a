"""Cells as functions: what `%%rsched` makes of one, and what of a cell is a job's code."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from types import CodeType

import pytest

import raysched as rs
from raysched.errors import DeclarationError
from raysched.jupyter.cell import function_of
from raysched.runners.captured import captured, culprit, largest
from raysched.runners.cells import FILE, settled

# ------------------------------------------------------------------ the text of a cell


VARIABLES = {"x": 1, "y": 2, "f": 3, "each": 4}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x", "x"),
        ("x + other", "x"),
        ("obj = 1\nobj.x.y", ""),
        ("x = 1\nx", ""),
        ("x += 1", "x"),
        ("del x", "x"),
        ("x: int = 1\nx", ""),
        ("import x.y, y.x\nx, y", ""),
        ("y, *x = 1, 2\nx, y", ""),
        ("def f(): return f() + x", "x"),
        ("@x\ndef f(): return f()", "f x"),
        ("def f(y=x): return y", "x"),
        ("class f:\n    x = 1\n    def g(self, y): return self.x, y", ""),
        ("[x for x in y]", "y"),
        ("for each in y: print(each)", "y"),
        ("for each in y: pass\neach", "each y"),
        ("while each := y: print(each)", "y"),
        ("if (each := y) and x: print(each)", "x y"),
        ("if x:\n    each = 1\nelse:\n    each = 2\neach", "x"),
        ("if x:\n    y = 1\ny", "x y"),
        ("with open(x) as each: y = each.read()", "x"),
        ("with open(x) as each: y = each.read()\ny", "x y"),
        ("try: y = 1\nexcept E as x: y = x\ny", ""),
        ("try: y = 1\nfinally: x = 1\nx, y", ""),
        ("match y:\n    case [each, *_] if each: print(each)", "y"),
    ],
)
def test_a_cell_takes_along_what_it_reads_before_it_has_surely_written_it(text, names):
    found = captured(function_of(text, dict(VARIABLES)), lambda _: True)
    assert " ".join(sorted(each.name for each in found if each.role == "global")) == names


def test_a_cell_has_no_parameters_and_its_first_words_describe_the_job():
    spec = rs.job(name="a")(function_of('"What it is for."\nx', {"x": 1})).spec
    assert (spec.signature.names, spec.description) == ((), "What it is for.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing to run"),
        ("# only a comment", "nothing to run"),
        ("x =", "invalid syntax"),
        ("!rm -rf /", "invalid syntax"),
        ("%time x", "invalid syntax"),
        ("return 3", "outside function"),
        ("await x", "outside function"),
        ("yield x", "outside function"),
        ("def f():\n    x\n    global x", "prior to global declaration"),
        ("x\0y", "null bytes"),
    ],
)
def test_what_is_no_plain_python_is_refused(text, why):
    with pytest.raises(DeclarationError, match="cannot be a job") as raised:
        function_of(text, {})
    assert why in raised.value.why


def test_an_error_names_the_line_of_the_cell():
    with pytest.raises(DeclarationError, match="line 2 below %%rsched"):
        function_of("x = 1\ny = = 2", {})


@pytest.mark.parametrize("text", ["globals()", "x = [1]\ndir()", "eval('x')", "f(locals())"])
def test_what_would_find_variables_by_name_is_refused(text):
    with pytest.raises(DeclarationError, match=r"line \d below %%rsched calls \w+\(\) without"):
        function_of(text, {"x": 1})
    assert function_of(text, {"x": 1, "globals": 1, "dir": 1, "eval": 1, "locals": 1})


def test_a_lookup_that_is_told_where_to_look_is_let_through():
    assert function_of("vars(x), dir(x), eval('1', {}), map(eval, x)", {"x": 1})


# ------------------------------------------------------------------ where a cell was run

TEXT = (
    "def job(n=1):\n    def inner():\n        return [n for _ in (lambda: n,)]\n    return inner\n"
)


def code_of(file: str, lines_above: int = 0, text: str = TEXT) -> CodeType:
    names: dict = {}
    exec(compile("\n" * lines_above + text, file, "exec"), names)
    return names["job"].__code__


def everything(code: CodeType) -> list:
    inner = [everything(each) for each in code.co_consts if isinstance(each, CodeType)]
    plain = [each for each in code.co_consts if not isinstance(each, CodeType)]
    return [
        code.co_filename,
        code.co_firstlineno,
        code.co_linetable,
        code.co_code,
        code.co_names,
        plain,
        inner,
    ]


@pytest.mark.parametrize(
    "file",
    [
        "/tmp/ipykernel_2/456.py",
        "C:\\T\\ipykernel_9\\1.py",
        "<ipython-input-3-a1b2>",
        "/tmp/ipython-input-7.py",
    ],
)
def test_code_of_a_cell_is_the_same_in_every_kernel_and_below_any_comment(file):
    first = settled(code_of("/tmp/ipykernel_1/123.py"))
    assert everything(settled(code_of(file, lines_above=7))) == everything(first)
    assert (first.co_filename, first.co_firstlineno) == (FILE, 1)
    assert everything(settled(first)) == everything(first)


def test_code_of_a_cell_changes_with_what_it_says():
    other = TEXT.replace("n=1", "n=1, m=2")
    first = settled(code_of("/tmp/ipykernel_1/123.py"))
    assert everything(settled(code_of("/tmp/ipykernel_1/123.py", text=other))) != everything(first)


def test_code_of_a_file_stays_as_it_is():
    for file in ("/home/me/ipykernel_1/jobs.py", "/home/me/job.py", "<string>"):
        code = code_of(file, lines_above=3)
        assert settled(code) is code


# ------------------------------------------------------------------ what travels along

LOCK = threading.Lock()
NUMBERS = list(range(1000))
CONFIG = {"db": {"connections": [1, threading.Lock()]}, "region": "EU"}


class Holder:
    def __init__(self) -> None:
        self.region = "EU"
        self.connection = sqlite3.connect(":memory:")


HOLDER = Holder()


def helper():
    return [LOCK for _ in NUMBERS]


def deeper():
    return helper()


def uses_helper():
    return deeper()


def uses_config():
    return CONFIG


def uses_holder():
    def inner():
        return HOLDER

    return inner()


def by_default(a, b=1, *, lock=LOCK):
    return lock


def told(function) -> str | None:
    return culprit(captured(function, lambda each: each.__module__ == __name__), pickle.dumps)


def test_what_cannot_travel_is_named_with_its_type_and_who_uses_it():
    assert told(uses_helper) == (
        "the global 'LOCK' (used by helper(), by deeper()) is of type 'lock'"
    )
    assert told(uses_config) == (
        "the global 'CONFIG' is of type 'dict': CONFIG['db']['connections'][1] is of type 'lock'"
    )
    assert told(uses_holder) == (
        "the global 'HOLDER' is of type 'Holder': HOLDER.connection is of type 'Connection'"
    )
    assert told(by_default) == "the default of 'lock' is of type 'lock'"
    assert told(rs.job(name="a")(uses_helper).function) == told(uses_helper)
    assert told(lambda: NUMBERS) is None


def test_the_heaviest_variables_come_first():
    big, small = b"x" * 100_000, b"y" * 10

    def uses():
        return len(big) + len(small) + len(NUMBERS)

    found = largest(captured(uses, lambda _: False), pickle.dumps, most=2)
    assert [each.name for _, each in found] == ["big", "NUMBERS"]
    assert found[0][0] >= 100_000
