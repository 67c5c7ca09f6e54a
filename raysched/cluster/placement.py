"""From a run's shape to Ray's task options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysched.spec.policies import Placement


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


def taking_over(node_id: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a Ray task that takes a container over on just this node.

    It asks for no processors or memory: those that the container has been using all along
    Ray may have given to others since its worker died, and waiting for them would leave it
    unwatched. GPUs it asks for, as a container that was never made is given them anew.
    """
    if shape.get("num_gpus"):
        return {**ray_options(shape), **on_node(node_id)}
    return {"num_cpus": 0, **on_node(node_id)}


def _on_node(node: str, resources: dict[str, float]) -> dict[str, Any]:
    if "." in node or ":" in node:  # Ray gives every node a resource of its address
        return {"resources": {**resources, f"node:{node}": 0.001}}
    return on_node(node)
