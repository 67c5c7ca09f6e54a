"""Resources: finite, plain, non-negative numbers in steps that Ray can grant."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hostile import Hostile
from raysched.errors import InvalidResource, InvalidUnit
from raysched.spec.resources import resources

AMOUNTS = [-1, -0.5, math.nan, math.inf, -math.inf, "2", True, None, 1j, [1], 1e7, 10**400]
AMOUNTS += [np.float64(1), np.int64(1), np.array(1), Hostile()]


def test_the_default_is_one_cpu():
    assert resources().as_ray() == {"CPU": 1}


def test_a_demand_is_given_under_the_names_that_ray_uses():
    asked = resources(num_cpus=0.5, num_gpus=2, memory="2GiB", custom={"ssd": 1, "none": 0})
    assert asked.as_ray() == {"CPU": 0.5, "GPU": 2, "memory": 2.0 * 1024**3, "ssd": 1}
    assert resources(num_cpus=0).as_ray() == {}


@pytest.mark.parametrize("bad", AMOUNTS, ids=lambda bad: type(bad).__name__)
@pytest.mark.parametrize("name", ["num_cpus", "num_gpus", "ssd"])
def test_an_amount_that_is_no_plain_finite_number_is_refused(name, bad):
    options = {"custom": {name: bad}} if name == "ssd" else {name: bad}
    with pytest.raises(InvalidResource) as caught:
        resources(**options)
    assert name in caught.value.what
    assert "plain int or float from 0" in caught.value.why
    assert name in caught.value.fix


@pytest.mark.parametrize("fine", [0.00001, 0.12345, 1.00005])
def test_an_amount_finer_than_ray_counts_is_refused(fine):
    with pytest.raises(InvalidResource, match="too fine") as caught:
        resources(num_cpus=fine)
    assert "0.0001" in caught.value.why
    assert "num_cpus=0.0." not in caught.value.fix


@pytest.mark.parametrize(("gpus", "fix"), [(1.5, "num_gpus=2"), (2.0001, "num_gpus=3")])
def test_several_gpus_are_granted_whole(gpus, fix):
    with pytest.raises(InvalidResource, match="refused") as caught:
        resources(num_gpus=gpus)
    assert "whole" in caught.value.why
    assert fix in caught.value.fix


def test_a_fraction_of_one_gpu_and_whole_gpus_are_taken():
    assert [resources(num_gpus=n).num_gpus for n in (0, 0.25, 1, 1.0, 8)] == [0, 0.25, 1, 1, 8]


@pytest.mark.parametrize("same", [1.0, 1])
def test_a_whole_float_and_its_int_are_one_demand(same):
    assert repr(resources(num_cpus=same).num_cpus) == "1"
    assert repr(resources(num_cpus=-0.0).num_cpus) == "0"


@pytest.mark.parametrize("memory", ["512M", "1 K", "-1GB", True, 1.5, math.nan, np.int64(1)])
def test_memory_is_a_size_with_its_unit(memory):
    with pytest.raises(InvalidUnit, match="memory="):
        resources(memory=memory)


@pytest.mark.parametrize("custom", ["ssd", ["ssd"], 1, {"ssd"}, Hostile()])
def test_custom_resources_are_a_mapping(custom):
    with pytest.raises(InvalidResource, match="is not a mapping") as caught:
        resources(custom=custom)
    assert "named amounts" in caught.value.why


@pytest.mark.parametrize("name", ["", "a\n", "\u202e", "a\0", "x" * 101, 1, None, b"ssd", "\ud800"])
def test_a_custom_resource_has_a_printable_name(name):
    with pytest.raises(InvalidResource, match="resource name"):
        resources(custom={name: 1})


@pytest.mark.parametrize("name", ["CPU", "GPU", "memory", "object_store_memory"])
def test_what_ray_has_an_option_for_is_no_custom_resource(name):
    with pytest.raises(InvalidResource) as caught:
        resources(custom={name: 1})
    assert "num_cpus" in caught.value.fix
