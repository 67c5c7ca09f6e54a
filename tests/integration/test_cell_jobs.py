"""A cell as a job does what it does in the notebook. No cluster needed: it travels as bytes."""

from __future__ import annotations

import re
import sys
import threading
from itertools import product
from textwrap import indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysched.errors import NotPicklable
from raysched.jupyter.cell import function_of
from raysched.runners import code

HELPERS = """
from contextlib import nullcontext, suppress

yes, no, none, one = True, False, [], [7]

def look(get):
    try:
        found = get()
    except NameError:
        return "unbound"
    return found if isinstance(found, int) else type(found).__name__

def read():
    return x

def write(value):
    global x
    x = value

def at_once(function):
    function()
    return function
"""


def notebook(*cells: str) -> dict:
    """The variables of a notebook in which some cells were run."""
    variables = {"__name__": "__main__"}
    for each in (HELPERS, *cells):
        exec(each, variables)
    return variables


def outcome(run) -> object:
    try:
        return run()
    except Exception as error:
        return type(error)


def in_the_notebook(text: str, variables: dict) -> object:
    """What the cell's last line, an expression, gives where the cell stands."""
    *lines, last = text.rstrip().split("\n")
    exec("\n".join([*lines, f"result = {last}"]), variables)
    return variables["result"]


def as_a_job(text: str, variables: dict) -> object:
    """What a worker gets that runs the cell twice; both runs must give the same."""
    sent, _ = code.pin(function_of(text, variables), name="a")
    first, second = (outcome(code.load("hash", sent)) for _ in range(2))
    assert first == second
    return first


def means_the_same(text: str, *cells: str) -> bool:
    here = outcome(lambda: in_the_notebook(text, notebook(*cells)))
    return as_a_job(text, notebook(*cells)) == here


# ------------------------------------------------------------------ what may bind a name, and where

BINDINGS = [
    "y = x",
    "x = 5",
    "y = x = 5",
    "y, *x = 5, 6",
    "x += 5",
    "x: int = 5",
    "x: int",
    "del x",
    "import os.path as x",
    "import os.path",
    "from os import path as x",
    "(x := 5)",
    "yes and (x := 5)",
    "no and (x := 5)",
    "(x := 5) if no else 6",
    "0 > 1 > (x := 5)",
    "0 > (x := 1) > 2",
    "assert yes, (x := 5)",
    "[x := each for each in one]",
    "[x := each for each in none]",
    "[0 for each in one if (x := 5)]",
    "y = lambda: (x := 5)",
    "y = [x for x in one]",
    "for x in one: pass",
    "for x in none: pass",
    "with nullcontext(5) as x: pass",
    "with suppress(TypeError) as y, nullcontext(5) as (x, y): pass",
    "with suppress(TypeError) as (x, y): pass",
    "try: 1 // 0\nexcept ZeroDivisionError as x: pass",
    "try: 1 // 1\nexcept ZeroDivisionError as x: pass",
    "match 5:\n    case x: pass",
    "match 5:\n    case 6 as x: pass",
    "match 5:\n    case x if x > 5: pass\n    case 5: y = x",
    "match one:\n    case [*x]: pass",
    "def x(): pass",
    "def x(y=x): pass",
    "class x: pass",
    "class y: x = 5",
    "class y: x = x\ny = y.x",
    "class y: x += 5\ny = y.x",
    "class y:\n    global x\n    x = 5",
    "def f():\n    global x\n    x = 5\nf()",
    "def f():\n    global x\n    x += 5\nf()",
    "def f():\n    global x\n    del x\nf()",
    "@at_once\ndef x():\n    global y\n    y = x",
    "def f():\n    return x\ny = f()",
    "def f():\n    x = 5\n    def g():\n        nonlocal x\n        x += 1\n    return g\nf()()",
    "write(5)",
    "y = read()",
]

PLACES = [
    "{}",
    "if yes:\n    {}",
    "if no:\n    {}",
    "if no: pass\nelse:\n    {}",
    "if no: x = 8\nelif no: pass\nelse:\n    {}",
    "if yes: pass\nelse:\n    {}",
    "for each in one:\n    {}",
    "for each in none:\n    {}",
    "for each in one:\n    if yes: continue\n    {}",
    "for each in one:\n    if yes: break\nelse:\n    {}",
    "for each in none: pass\nelse:\n    {}",
    "while yes:\n    {}\n    break",
    "while no:\n    {}",
    "while yes: break\nelse:\n    {}",
    "with suppress(Exception):\n    {}",
    "with suppress(Exception):\n    1 // 0\n    {}",
    "with nullcontext(), suppress(Exception):\n    1 // 0\n    {}",
    "try:\n    {}\nexcept Exception: pass",
    "try:\n    1 // 0\n    {}\nexcept Exception: pass",
    "try:\n    1 // 0\n    x = 8\nexcept Exception:\n    {}",
    "try: pass\nexcept Exception: x = 8\nelse:\n    {}",
    "try:\n    1 // 0\nexcept Exception: pass\nelse:\n    {}",
    "try:\n    try:\n        1 // 0\n        x = 8\n    finally:\n            {}\nexcept: pass",
    "try:\n    raise ExceptionGroup('', [ValueError()])\nexcept* ValueError:\n    {}",
    "match one:\n    case [_]:\n        {}",
    "match one:\n    case []:\n        {}\n    case [x]: pass",
    "def outer():\n    {}\nouter()",
    "def outer():\n    global x\n    {}\nouter()",
    "@at_once\ndef outer():\n    global x\n    {}",
    "class Outer:\n    {}",
]

ENDS = ["[look(lambda: x), look(lambda: y)]", "x = 3\n[x, look(lambda: y)]"]


def placed(place: str, body: str) -> str:
    return re.sub(r"^( *)\{\}$", lambda found: indent(body, found[1]), place, flags=re.MULTILINE)


def is_python(text: str) -> bool:
    try:
        compile(text, "<cell>", "exec")
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("place", PLACES)
def test_whatever_binds_a_name_wherever_the_cell_means_the_same_as_a_job(place):
    for binding, end in product(BINDINGS, ENDS):
        text = f"{placed(place, binding)}\n{end}"
        if is_python(text):
            assert means_the_same(text, "x = 1"), text
            assert means_the_same(text), text


BLOCKS = st.recursive(
    st.sampled_from(BINDINGS),
    lambda inner: st.builds(
        placed, st.sampled_from(PLACES), st.lists(inner, min_size=1, max_size=2).map("\n".join)
    ),
    max_leaves=4,
)
BODIES = st.lists(BLOCKS, min_size=1, max_size=3).map("\n".join)
CELLS = st.tuples(BODIES, st.sampled_from(ENDS)).map("\n".join)


@settings(deadline=None, max_examples=300)
@given(CELLS.filter(is_python), st.sets(st.sampled_from(["x = 1", "y = 2"])))
def test_any_cell_means_the_same_as_a_job(text, cells):
    assert means_the_same(text, *sorted(cells))


# ------------------------------------------------------------------ what cells of notebooks do

PRIVATE = """
class A:
    def __init__(self): self.__x = x
    def get(self): return self.__x
A().get()
"""


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("x * 2", 20),
        ("y = 1", None),
        ("if x:\n    y = 3\nelse:\n    y = 4", None),
        ("'only words'", "only words"),
        ("from math import *\nfloor(pi)", 3),
        ("def f(n: x): pass\nf.__annotations__", {"n": 10}),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(x)", 55),
        (PRIVATE, 10),
        ("__name__", "__main__"),
    ],
)
def test_the_last_expression_of_a_cell_is_the_result(text, result):
    variables = {"__name__": "__main__", "x": 10, "unused": threading.Lock()}
    assert as_a_job(text, variables) == result


def test_functions_of_the_notebook_see_what_the_cell_assigns():
    late = "limit = 15\ndef late(minutes):\n    return [each for each in minutes if each > limit]"
    variables = notebook(late)
    assert as_a_job("limit = 30\nlate([20, 40])", variables) == [40]
    assert variables["limit"] == 15


def test_each_run_begins_with_the_values_that_were_sent():
    variables = notebook("seen, count = [], 0")
    assert as_a_job("seen.append(1)\ncount += 1\n[seen, count]", variables) == [[1], 1]


def test_a_submodule_that_the_notebook_has_imported_is_imported_for_the_job(monkeypatch):
    variables = notebook("import xml.dom.minidom")
    sent, _ = code.pin(function_of("xml.dom.minidom.Node.ELEMENT_NODE", variables), name="a")
    for name in [name for name in sys.modules if name.startswith("xml.dom")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sys.modules["xml"], "dom")
    assert code.load("hash", sent)() == 1


FIBONACCI = """
import functools
@functools.lru_cache(maxsize=50)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
"""


def test_a_function_with_a_cache_travels_as_its_own_function_does():
    told = "[fib(80), fib.cache_parameters()['maxsize'], fib.__name__, fib.__wrapped__(1)]"
    expected = [23416728348467685, 50, "fib", 1]
    assert as_a_job(told, notebook(FIBONACCI)) == expected
    assert as_a_job(FIBONACCI + told, notebook(FIBONACCI)) == expected


def test_a_function_with_a_cache_of_an_installed_module_travels_by_name():
    variables = notebook("from fnmatch import _compile_pattern as compiled")
    assert as_a_job("compiled", variables) is variables["compiled"]


def test_what_cannot_travel_is_named_if_the_cell_may_read_it_and_is_left_behind_if_not():
    left = "with open('/dev/null') as f: pass"
    assert as_a_job("with open('/dev/null') as f: f.read()\n3", notebook(left)) == 3
    with pytest.raises(NotPicklable, match="the global 'f' is of type 'TextIOWrapper'"):
        as_a_job("f.read()", notebook(left))
