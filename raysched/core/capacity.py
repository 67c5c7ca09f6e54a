"""Whether the cluster can hold a run: now, later, once a node is added, or never.

Pure: what the run asks and what the nodes offer go in. By Ray's own rules, so that
what is said of a run is what Ray makes of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysched.core.causes import Cause
from raysched.spec.definition import JobSpec

WANTING = frozenset({Cause.NO_CAPACITY_EVER, Cause.NO_CAPACITY_YET})
"""Causes that an idle cluster has no cure for."""

_ROUND = 1e-9
_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
_SHOWN = 5  # nodes that a reason names
_RUNS_SHOWN = 3  # runs that it names of each
_SELECTOR = re.compile(r"(!?)(?:in\((.*)\)|(.*))", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that is alive: what it offers under Ray's names, and what of that is free."""

    node_id: str
    ip: str
    total: Mapping[str, float]
    free: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeType:
    """A kind of node that the autoscaler may add."""

    name: str
    total: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The nodes that are alive, and what an autoscaler may add.

    `autoscales` is whether there is an autoscaler; `types` are its kinds of node, None if
    they are not known.
    """

    nodes: Sequence[Node]
    autoscales: bool = False
    types: Sequence[NodeType] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a run asks of a node. `node` is the id or address of the only one that will do."""

    job: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Whether there is room, why or why not, what to do, and the nodes that could hold the run."""

    cause: Cause
    reason: str
    fix: str | None = None
    nodes: Sequence[Mapping[str, Any]] = ()


def demand_of(spec: JobSpec) -> Demand:
    """Return what a run of a job asks."""
    pinned = spec.placement.startswith("node:")
    return Demand(
        job=spec.name,
        resources=spec.resources.as_ray(),
        labels=spec.label_selector,
        node=spec.placement.removeprefix("node:") if pinned else None,
    )


def find_room(
    demand: Demand, cluster: Cluster, runs: Mapping[str, Sequence[str]] | None = None
) -> Room:
    """Return whether the cluster has room for a run.

    `runs` are those under way, by the id of their node.
    """
    could = [node for node in cluster.nodes if _could_hold(demand, node)]
    if not could:
        return _nowhere(demand, cluster)
    names = _names(cluster.nodes)
    facts = [_fact(names[node.node_id], node, demand, (runs or {})) for node in could]
    for node in could:
        if _covers(node.free, demand.resources):
            return Room(
                cause=Cause.STARTING,
                reason=f"node {names[node.node_id]} has room for it",
                nodes=facts,
            )
    asked = _amounts(demand.resources)
    told = "; ".join(_occupied(fact) for fact in facts[:_SHOWN])
    more = f"; and {len(facts) - _SHOWN} more nodes" if len(facts) > _SHOWN else ""
    return Room(
        cause=Cause.NO_CAPACITY_NOW,
        reason=f"no node has {asked} free: {told}{more}",
        nodes=facts,
    )


def find_misfits(demands: Sequence[Demand], cluster: Cluster) -> dict[str, Room]:
    """Return, by the job, why those of the demands that no node could meet are not met."""
    rooms = {each.job: find_room(each, cluster) for each in demands}
    return {job: room for job, room in rooms.items() if room.cause in WANTING}


def selects(selector: str, value: str | None) -> bool:
    """Whether a label's value, None where a node lacks it, meets a condition of a selector.

    Ray's forms: `v`, `!v`, `in(v, w)`, `!in(v, w)`.
    """
    match = _SELECTOR.fullmatch(selector)
    assert match is not None  # the last branch takes any text
    named = [match[3]] if match[2] is None else [each.strip() for each in match[2].split(",")]
    return (value in named) != bool(match[1])


def _nowhere(demand: Demand, cluster: Cluster) -> Room:
    what, why, fix = _obstacle(demand, cluster.nodes)
    reason = f"{what}: {why}" if why else what
    if demand.node is None and cluster.autoscales:
        types = None if cluster.types is None else _fitting(demand, cluster.types)
        if types is None:
            return Room(
                cause=Cause.NO_CAPACITY_YET, reason=f"{reason}; the autoscaler may add a node"
            )
        if types:
            added = f"the autoscaler may add a node of type {types[0]}"
            return Room(cause=Cause.NO_CAPACITY_YET, reason=f"{reason}; {added}")
        reason += "; no node type of the autoscaler offers it either"
    return Room(cause=Cause.NO_CAPACITY_EVER, reason=reason, fix=fix)


def _fitting(demand: Demand, types: Sequence[NodeType]) -> list[str]:
    return [
        each.name
        for each in types
        if _covers(each.total, demand.resources) and _bears(each.labels, demand.labels)
    ]


def _obstacle(demand: Demand, nodes: Sequence[Node]) -> tuple[str, str, str]:
    """Return what no node offers, what they offer, and what to do about it."""
    job, call = f"job {demand.job!r}", f"{_variable(demand.job)}.options"
    if not nodes:
        return f"{job} has no node to run on", "none is alive", "start a node."
    names = _names(nodes)
    left = [node for node in nodes if demand.node is None or _is(node, demand.node)]
    if not left:
        return (
            f"{job} asks placement='node:{demand.node}', and no such node is alive",
            _list(f"node {names[node.node_id]}" for node in nodes),
            f'{call}(placement="pack"), or name a node that is alive.',
        )
    for label, selector in demand.labels.items():
        bearing = [node for node in left if selects(selector, node.labels.get(label))]
        if not bearing:
            return (
                f"{job} asks label_selector={{{label!r}: {selector!r}}}, and no node meets it",
                _list(_label(names[node.node_id], label, node.labels.get(label)) for node in left),
                f"{call}(label_selector=...) with a label that a node bears, "
                "or start a node with that label.",
            )
        left = bearing
    for name, amount in demand.resources.items():
        most = max(node.total.get(name, 0) for node in left)
        if most + _ROUND < amount:
            return _too_small(demand, name, most, left, names)
    return (
        f"{job} asks {_amounts(demand.resources)}, and no single node offers all of it",
        _list(_offers(names[node.node_id], node, demand.resources) for node in left),
        f"{call}(...) with less, or add a node that offers it all.",
    )


def _too_small(
    demand: Demand, name: str, most: float, left: Sequence[Node], names: Mapping[str, str]
) -> tuple[str, str, str]:
    option, amount = _option(name), demand.resources[name]
    some = " that it may run on" if demand.node or demand.labels else ""
    by_size = sorted(left, key=lambda node: -node.total.get(name, 0))
    offers = (
        f"node {names[node.node_id]} has {amount_text(name, node.total.get(name, 0))}"
        for node in by_size
    )
    call = f"{_variable(demand.job)}.options"
    smaller = f"{call}({_declared(name, most)}), or " if most or name not in _OPTIONS else ""
    return (
        f"job {demand.job!r} asks {option}={amount_text(name, amount)}; the largest node{some} "
        f"offers {amount_text(name, most)}",
        _list(offers),
        f"{smaller}add a node that offers {option}={amount_text(name, amount)}.",
    )


def _declared(name: str, amount: float) -> str:
    """Return the option that asks an amount, as a user writes it."""
    if name == "memory":
        return f'memory="{int(amount // 2**20)}MiB"'
    if name in _OPTIONS:
        return f"{_OPTIONS[name]}={amount:g}"
    return f"resources={{{name!r}: {amount:g}}}" if amount else "resources={}"


def _could_hold(demand: Demand, node: Node) -> bool:
    return (
        (demand.node is None or _is(node, demand.node))
        and _bears(node.labels, demand.labels)
        and _covers(node.total, demand.resources)
    )


def _is(node: Node, name: str) -> bool:
    return name in (node.node_id, node.ip) or f"node:{name}" in node.total


def _bears(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(selects(selector, labels.get(label)) for label, selector in wanted.items())


def _covers(offered: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(offered.get(name, 0) + _ROUND >= amount for name, amount in asked.items())


def _fact(
    name: str, node: Node, demand: Demand, runs: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    asked = demand.resources
    return {
        "node": name,
        "node_id": node.node_id,
        "free": {each: node.free.get(each, 0.0) for each in asked},
        "total": {each: node.total.get(each, 0.0) for each in asked},
        "runs": list(runs.get(node.node_id, ())),
    }


def _occupied(fact: Mapping[str, Any]) -> str:
    free = ", ".join(
        f"{amount_text(name, amount)} of {amount_text(name, fact['total'][name])} {_unit(name)}"
        for name, amount in fact["free"].items()
    )
    runs = fact["runs"]
    more = f" and {len(runs) - _RUNS_SHOWN} more" if len(runs) > _RUNS_SHOWN else ""
    there = f", taken by {', '.join(runs[:_RUNS_SHOWN])}{more}" if runs else ""
    return f"node {fact['node']} has {free} free{there}"


def _names(nodes: Sequence[Node]) -> dict[str, str]:
    """Return what to call each node: its address, and its id where two share the address."""
    ips = Counter(node.ip for node in nodes)
    return {
        node.node_id: node.ip if ips[node.ip] == 1 else f"{node.ip} ({node.node_id[:8]})"
        for node in nodes
    }


def _offers(name: str, node: Node, asked: Mapping[str, float]) -> str:
    return f"node {name} has {_amounts({each: node.total.get(each, 0) for each in asked})}"


def _label(name: str, label: str, value: str | None) -> str:
    return f"node {name} has {'no ' + label if value is None else f'{label}={value!r}'}"


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{_option(k)}={amount_text(k, v)}" for k, v in resources.items()) or "nothing"


def amount_text(name: str, amount: float) -> str:
    """Return an amount of a resource as a reader wants it."""
    if name not in ("memory", "object_store_memory"):
        return f"{amount:g}"
    unit, size = ("GiB", 2**30) if amount >= 2**30 else ("MiB", 2**20)
    return f"{amount / size:.4g}{unit}" if amount else "0"


def _option(name: str) -> str:
    return _OPTIONS.get(name, name)


def _unit(name: str) -> str:
    return {"CPU": "CPUs", "GPU": "GPUs"}.get(name, name)


def _list(each: Any) -> str:
    found = list(each)
    more = [f"and {len(found) - _SHOWN} more nodes"] if len(found) > _SHOWN else []
    return ", ".join(found[:_SHOWN] + more)


def _variable(job: str) -> str:
    """Return the name under which a job's file is likely to hold it."""
    return job if job.isidentifier() else "job"
