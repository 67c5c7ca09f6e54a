"""From a run's shape to Ray's task options, and whether any node could ever hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysched.spec.policies import Placement
from raysched.spec.resources import Resources

_ROUND = 1e-9
_OPTION = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def ray_options(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a Ray task for a shape's JSON-able ones."""
    options = dict(shape)
    placement = options.pop("placement", Placement.PACK)
    if placement == Placement.SPREAD:
        options["scheduling_strategy"] = "SPREAD"
    elif placement.startswith("node:"):
        resources = dict(options.get("resources", {}))
        options.update(_on_node(placement.removeprefix("node:"), resources))
    return options


def on_node(node_id: str) -> dict[str, Any]:
    """Return the options of a Ray task that is to run on just this node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}


def _on_node(node: str, resources: dict[str, float]) -> dict[str, Any]:
    if "." in node or ":" in node:  # Ray gives every node a resource of its address
        return {"resources": {**resources, f"node:{node}": 0.001}}
    return on_node(node)


def misfit(job: str, asked: Resources, nodes: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why no node could hold a run even if it were idle, or None if one could.

    `nodes` are those of `ray.nodes()`.
    """
    alive = [node for node in nodes if node["Alive"]]
    demand = asked.as_ray()
    if any(_fits(demand, node["Resources"]) for node in alive):
        return None
    for name, amount in demand.items():
        most = max((node["Resources"].get(name, 0) for node in alive), default=0)
        if most + _ROUND < amount:
            option = _OPTION.get(name, name)
            return f"job {job!r} asks {option}={amount:g}; the largest node offers {most:g}"
    return f"no single node offers all that job {job!r} asks: {demand}"


def _fits(demand: Mapping[str, float], offered: Mapping[str, float]) -> bool:
    return all(offered.get(name, 0) + _ROUND >= amount for name, amount in demand.items())
