"""Whether a cluster can hold a run, in named cases and against a naive judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.core.capacity import Cluster, Demand, Node, NodeType, find_misfits, find_room, selects
from raysched.core.causes import Cause

GIB = 2.0**30


def node(name, *, free=None, labels=None, ip=None, **total):
    found = {"CPU": 4.0, "memory": 8 * GIB, f"node:{ip or name}": 1.0, **total}
    return Node(
        node_id=f"id-{name}",
        ip=ip or name,
        total=found,
        free=found if free is None else {**found, **free},
        labels=labels or {},
    )


def room(demand, *nodes, runs=None, **cluster):
    return find_room(demand, Cluster(nodes=nodes, **cluster), runs)


def asks(node=None, labels=None, **resources):
    return Demand(job="train", resources=resources, labels=labels or {}, node=node)


SMALL, LARGE = node("10.0.0.4", GPU=1.0), node("10.0.0.5", CPU=16.0)


def test_a_resource_that_no_node_has_enough_of_is_named_with_the_largest_and_every_node():
    found = room(asks(CPU=1, GPU=2), SMALL, LARGE)
    assert found.cause is Cause.NO_CAPACITY_EVER
    assert found.reason == (
        "job 'train' asks num_gpus=2; the largest node offers 1: "
        "node 10.0.0.4 has 1, node 10.0.0.5 has 0"
    )
    assert found.fix == "train.options(num_gpus=1), or add a node that offers num_gpus=2."


NEVER = {
    "custom resource": (asks(ssd=2), "asks ssd=2; the largest node offers 0"),
    "memory": (asks(memory=9 * GIB), "asks memory=9GiB; the largest node offers 8GiB"),
    "together": (asks(CPU=16, GPU=1), "asks num_cpus=16, num_gpus=1, and no single node offers"),
    "label": (asks(labels={"zone": "eu"}), "asks label_selector={'zone': 'eu'}, and no node meets"),
    "node by address": (asks(node="10.0.0.9"), "asks placement='node:10.0.0.9', and no such node"),
    "node by id": (asks(node="abc"), "placement='node:abc'"),
    "too large for its node": (
        asks(node="10.0.0.4", CPU=8),
        "asks num_cpus=8; the largest node that it may run on offers 4",
    ),
}


@pytest.mark.parametrize(("demand", "words"), NEVER.values(), ids=NEVER)
def test_what_no_node_will_ever_hold_says_what_it_lacks_and_how_to_mend_it(demand, words):
    found = room(demand, SMALL, LARGE)
    assert found.cause is Cause.NO_CAPACITY_EVER
    assert words in found.reason
    assert "10.0.0.4" in found.reason
    assert found.fix


def test_a_cluster_without_nodes_says_so():
    found = room(asks(CPU=1))
    assert (found.cause, found.fix) == (Cause.NO_CAPACITY_EVER, "start a node.")


def test_labels_and_resources_count_on_one_and_the_same_node():
    eu = node("10.0.0.4", labels={"zone": "eu"})
    us = node("10.0.0.5", CPU=16.0, labels={"zone": "us"})
    found = room(asks(CPU=8, labels={"zone": "eu"}), eu, us)
    assert "the largest node that it may run on offers 4: node 10.0.0.4 has 4" in found.reason
    assert room(asks(CPU=8, labels={"zone": "!eu"}), eu, us).cause is Cause.STARTING


def test_what_only_busy_nodes_could_hold_says_what_is_free_there_and_who_has_the_rest():
    busy = node("10.0.0.4", free={"CPU": 1.0})
    runs = {"id-10.0.0.4": [f"etl@{n}" for n in range(5)]}
    found = room(asks(CPU=2), busy, node("10.0.0.5", CPU=1.0), runs=runs)
    assert found.cause is Cause.NO_CAPACITY_NOW
    assert found.reason == (
        "no node has num_cpus=2 free: node 10.0.0.4 has 1 of 4 CPUs free, "
        "taken by etl@0, etl@1, etl@2 and 2 more"
    )
    (fact,) = found.nodes
    assert (fact["node"], fact["free"], fact["total"]) == ("10.0.0.4", {"CPU": 1}, {"CPU": 4})
    assert fact["runs"] == runs["id-10.0.0.4"]


def test_a_node_with_room_is_named():
    found = room(asks(CPU=2), node("a", free={"CPU": 0.0}), node("b"))
    assert (found.cause, found.reason) == (Cause.STARTING, "node b has room for it")


def test_nodes_that_share_an_address_are_told_apart_by_their_ids():
    found = room(asks(CPU=9), node("one", ip="10.0.0.4"), node("two", ip="10.0.0.4"))
    assert "node 10.0.0.4 (id-one) has 4, node 10.0.0.4 (id-two) has 4" in found.reason


def test_what_the_autoscaler_may_add_is_told_apart_from_never():
    gpus = NodeType(name="gpu.large", total={"CPU": 8.0, "GPU": 4.0})
    added = room(asks(GPU=2), SMALL, autoscales=True, types=[gpus])
    assert added.cause is Cause.NO_CAPACITY_YET
    assert "may add a node of type gpu.large" in added.reason
    assert room(asks(GPU=8), SMALL, autoscales=True, types=[gpus]).cause is Cause.NO_CAPACITY_EVER
    assert room(asks(GPU=8), SMALL, autoscales=True).cause is Cause.NO_CAPACITY_YET
    assert room(asks(node="gone"), SMALL, autoscales=True).cause is Cause.NO_CAPACITY_EVER


def test_only_what_an_idle_cluster_could_not_hold_is_warned_of():
    busy = Cluster(nodes=[node("a", free={"CPU": 0.0})])
    wide = Demand(job="wide", resources={"CPU": 8})
    assert set(find_misfits([asks(CPU=4), wide], busy)) == {"wide"}


def test_a_large_cluster_is_told_of_in_short():
    found = room(asks(GPU=1), *(node(f"10.0.0.{n}") for n in range(30)))
    assert found.reason.count("node ") == 6 + found.reason.count("largest node") - 1
    assert "and 25 more nodes" in found.reason


@pytest.mark.parametrize(
    ("selector", "value", "meets"),
    [
        ("eu", "eu", True),
        ("eu", "us", False),
        ("eu", None, False),
        ("!eu", "us", True),
        ("!eu", "eu", False),
        ("!eu", None, True),
        ("in(eu, us)", "us", True),
        ("in(eu,us)", "asia", False),
        ("!in(eu, us)", "us", False),
        ("!in(eu, us)", None, True),
    ],
)
def test_label_selectors_mean_what_ray_makes_of_them(selector, value, meets):
    assert selects(selector, value) is meets


amounts = st.dictionaries(st.sampled_from(["CPU", "GPU", "ssd"]), st.integers(0, 4).map(float))
nodes = st.builds(
    lambda n, total, taken, zone: Node(
        node_id=f"n{n}",
        ip=f"10.0.0.{n}",
        total=total,
        free={k: max(0.0, v - taken) for k, v in total.items()},
        labels={"zone": zone} if zone else {},
    ),
    st.integers(0, 9),
    amounts,
    st.integers(0, 4),
    st.sampled_from([None, "eu", "us"]),
)


@given(
    st.lists(nodes, max_size=4, unique_by=lambda each: each.node_id),
    amounts,
    st.sampled_from([{}, {"zone": "eu"}, {"zone": "!eu"}]),
    st.sampled_from([None, "n1", "10.0.0.2"]),
)
def test_the_judgement_is_that_of_looking_at_each_node(each, asked, labels, pinned):
    def holds(one, offered):
        zone = one.labels.get("zone")
        right = not labels or (zone == "eu") == (labels["zone"] == "eu")
        here = pinned in (None, one.node_id, one.ip)
        return right and here and all(offered.get(k, 0) >= v for k, v in asked.items())

    found = find_room(
        Demand(job="j", resources=asked, labels=labels, node=pinned), Cluster(nodes=each)
    )
    if any(holds(one, one.free) for one in each):
        assert found.cause is Cause.STARTING
    elif any(holds(one, one.total) for one in each):
        assert found.cause is Cause.NO_CAPACITY_NOW
    else:
        assert found.cause is Cause.NO_CAPACITY_EVER
        assert found.fix
    assert found.reason
    assert {fact["node_id"] for fact in found.nodes} == {
        one.node_id for one in each if holds(one, one.total)
    }
