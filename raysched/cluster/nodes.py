"""What Ray tells of the cluster: its nodes, what is free on them, what may be added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ray

from raysched.core.capacity import Cluster, Node, NodeType


def look() -> Cluster:
    """Return the cluster as Ray's head knows it now, which may be some moments late."""
    from ray._private.state import state

    free = state.available_resources_per_node()
    nodes = [_node(each, free.get(each["NodeID"], {})) for each in ray.nodes() if each["Alive"]]
    types = _node_types(state.get_cluster_config())
    return Cluster(nodes=nodes, autoscales=types is not None or _has_autoscaler(), types=types)


def _node(found: Mapping[str, Any], free: Mapping[str, float]) -> Node:
    return Node(
        node_id=found["NodeID"],
        ip=found["NodeManagerAddress"],
        total=dict(found["Resources"]),
        free=dict(free),
        labels=dict(found["Labels"]),
    )


def _node_types(config: Any) -> list[NodeType] | None:
    """Return the kinds of node that may be added, as the second autoscaler announces them."""
    if config is None or not config.node_group_configs:
        return None
    return [
        NodeType(name=each.name, total=dict(each.resources), labels=dict(each.labels))
        for each in config.node_group_configs
        if each.max_count
    ]


def _has_autoscaler() -> bool:
    """Whether the first autoscaler, that of `ray up`, manages nodes; it tells no resources.

    Every cluster has one that only watches. It calls each node a type of its own, after
    the node's id.
    """
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.experimental.internal_kv import _internal_kv_get

    text = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    report = json.loads(text).get("autoscaler_report") if text else None
    return report is not None and autoscales(report)


def autoscales(report: Mapping[str, Any]) -> bool:
    """Whether a report of the first autoscaler is of one that manages nodes."""
    types = report.get("node_type_mapping") or {}
    return any(kind != f"node_{node}" for node, kind in types.items())
