"""Parameters: the names that a function takes, and values with a JSON form."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import Hostile
from raysched.errors import DeclarationError, InvalidParameter
from raysched.spec.parameters import Signature, json_value, plain


def report(region, year=2026, *rest, deep=False):
    """A function with required, optional, gathered and keyword-only parameters."""


def anything(**params):
    """A function that takes any name."""


class _HostileKey(Hostile):
    __hash__ = object.__hash__


def a_cycle():
    cycle = []
    cycle += [cycle, cycle]
    return cycle


def a_bush():
    bush = []
    for _ in range(31):
        bush = [bush, bush]
    return bush


def test_a_signature_knows_its_names_and_which_are_required():
    assert Signature.of(report) == Signature(names=("region", "year", "deep"), required=("region",))
    assert Signature.of(anything) == Signature(open=True)


def test_a_parameter_that_no_name_reaches_is_refused():
    def positional(a, /, b):
        """Take `a` by position only."""

    with pytest.raises(DeclarationError, match="'a' can only be passed by position") as caught:
        Signature.of(positional)
    assert "'/'" in caught.value.fix


@pytest.mark.parametrize("function", [max, type("Odd", (), {"__signature__": 5})()])
def test_a_function_that_does_not_tell_its_parameters_is_refused(function):
    with pytest.raises(DeclarationError, match="does not say which parameters") as caught:
        Signature.of(function)
    assert "def" in caught.value.fix


@pytest.mark.parametrize("name", ["regions", "Region", "", "\u202e", 1, None, _HostileKey()])
def test_a_name_that_the_function_does_not_take_is_refused(name):
    with pytest.raises(InvalidParameter, match="takes no parameter") as caught:
        Signature.of(report).check("report", {name: 1}, whole=False)
    assert "region, year, deep" in caught.value.why
    if type(name) is str and name.startswith("region"):
        assert "'region'" in caught.value.fix


def test_a_required_parameter_may_be_missing_until_the_run_is_made():
    signature = Signature.of(report)
    signature.check("report", {"year": 2025}, whole=False)
    signature.check("report", {"region": "EU"}, whole=True)
    with pytest.raises(InvalidParameter, match="needs the parameter 'region'") as caught:
        signature.check("report", {"year": 2025}, whole=True)
    assert "region=..." in caught.value.fix


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (date(2026, 1, 1), "type 'date'"),
        (b"raw", "type 'bytes'"),
        ({1, 2}, "type 'set'"),
        (1j, "type 'complex'"),
        (object(), "type 'object'"),
        (Hostile(), "type 'Hostile'"),
        (np.float64(1), "type 'float64'"),
        (np.int64(1), "type 'int64'"),
        (type("Text", (str,), {})("x"), "type 'Text'"),
        ({1: "a"}, "has the key 1"),
        ({None: "a"}, "has the key None"),
        ({_HostileKey(): "a"}, "has the key <_HostileKey>"),
        ("\ud800", "'\\ud800'"),
        ({"\ud800": 1}, "'\\ud800'"),
        ([1, {"a": (math.nan,)}], "params['bad'][1]['a'][0]"),
        (2**64, "an int of 65 bits"),
        (-(10**5000), "bits"),
        ("x" * 70_000, "larger than 65,536 bytes"),
        ("\u20ac" * 30_000, "larger than 65,536 bytes"),
        ([0] * 100_000, "larger than 65,536 bytes"),
        (a_cycle(), "nested more than 32"),
        (a_bush(), "larger than 65,536 bytes"),
    ],
    ids=lambda value: value if type(value) is str and value.isascii() and len(value) < 40 else "",
)
def test_a_value_without_a_small_json_form_is_refused(bad, what):
    with pytest.raises(InvalidParameter) as caught:
        Signature.of(anything).check("job", {"bad": bad}, whole=True)
    assert what in caught.value.what
    assert caught.value.what.startswith(("params", "a key of params"))
    assert caught.value.why
    assert caught.value.fix
    assert len(str(caught.value)) < 1000
    assert str(caught.value).replace("\n", "").isprintable()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=5)
)
def test_plain_values_survive_json_unchanged(params):
    assert json.loads(json_value(params, of="params")) == plain(params, of="params") == params


def test_the_copy_that_is_kept_cannot_be_changed_from_outside():
    inner = [1]
    kept = plain({"a": inner, "b": (1, 2)}, of="params")
    inner.append(2)
    assert kept == {"a": [1], "b": [1, 2]}
