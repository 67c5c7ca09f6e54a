"""Which run is meant by the beginning of an id."""

from __future__ import annotations

import pytest

from raysched.core.model import one_of
from raysched.errors import Ambiguous


def test_a_prefix_means_the_one_run_that_begins_so_or_none():
    assert one_of("etl@2026", ["etl@2026-11-22T06:00:00Z"]) == "etl@2026-11-22T06:00:00Z"
    assert one_of("etl@2026", []) is None


def test_a_whole_id_means_itself_although_others_begin_so():
    assert one_of("etl@1-a", ["etl@1-a-1", "etl@1-a", "etl@1-a-2"]) == "etl@1-a"


@pytest.mark.parametrize(("count", "said"), [(2, "^2 runs begin"), (10, "^10 or more runs begin")])
def test_of_several_runs_a_few_are_named(count, said):
    with pytest.raises(Ambiguous, match=said) as caught:
        one_of("etl", [f"etl@{n}" for n in range(count)])
    assert "etl@0, etl@1" in caught.value.why
    assert "etl@3" not in caught.value.why
