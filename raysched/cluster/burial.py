"""What is done on an attempt's node from afar: ending it, and asking what a dead worker left.

All of it by Ray tasks without CPUs on that node: guards, notes and containers can only
be reached from there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysched.cluster.attempts import VERDICTS, log_lines
from raysched.cluster.batch import read_notes
from raysched.cluster.mail import ReportLetter
from raysched.cluster.names import container_rooms, guard_directory
from raysched.core.model import Outcome, Stop
from raysched.core.orders import Ended, Started
from raysched.core.states import Event
from raysched.runners import calls
from raysched.runners.words import LastWords

_log = logging.getLogger(__name__)
_PATIENCE_S = 60.0
_DOUBT_S = 10.0
NO_CONTAINER = (
    exceptions.NodeDiedError,
    exceptions.TaskUnschedulableError,  # on a node that is gone
    exceptions.TaskCancelledError,  # before it began
)
"""What Ray says of a task that has left no container to go on with."""


def stop(key: str, started: Started) -> None:
    """Have the guard beside a worker end an attempt, if it is still that worker's."""
    _on(started.node_id, _stop).remote(started.address, key)


def _stop(address: str, key: str) -> bool:
    return calls.stop(address, key)


def stop_container(node_id: str, key: str, why: Stop, home: str) -> None:
    """Have a node end an attempt's container, whoever watches it."""
    _on(node_id, _stop_container).remote(key, why.value, home)


def _stop_container(key: str, verdict: Any, home: str) -> bool:
    from raysched.runners import container  # the Docker client takes long to load

    return container.stop(container_rooms(), key, verdict, home)


def holder(key: str, home: str) -> str | None:
    """Return the node on which an attempt's container may be, None if it is on none."""
    calls = {each: _on(each, _holds).remote(key, home) for each in _alive()}
    for node_id, call in calls.items():
        try:
            if call.future().result(timeout=_PATIENCE_S):
                return node_id
        except Exception as error:
            _log.info("node %s cannot tell whether it holds %s: %s", node_id, key, error)
    return None


def watched(node_id: str, key: str, home: str) -> bool:
    """Whether somebody on that node is at an attempt; raises whatever keeps it from telling."""
    return bool(_on(node_id, _watched).remote(key, home).future().result(timeout=_DOUBT_S))


def _watched(key: str, home: str) -> bool:
    from raysched.runners import container

    return container.watched(container_rooms(), key, home)


def _holds(key: str, home: str) -> bool:
    from raysched.runners import container

    return container.holds(container_rooms(), key, home)


def _alive() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What is left of a task that failed: noted ends, those that had begun, last words of one."""

    ends: Sequence[ReportLetter]
    begun: frozenset[str]
    words: LastWords | None


def remains(keys: Sequence[str], started: Started | None, error: BaseException) -> Remains:
    """Return what is left of a task of these attempts.

    A task that died before one of them could say where it ran is looked for on every node.
    """
    if isinstance(error, exceptions.TaskCancelledError):
        return Remains(ends=[], begun=frozenset(), words=None)
    nodes = [started.node_id] if started else _alive()
    for node in nodes:
        found = _ask(node, keys)
        if found is not None:
            return found
    # Perhaps one of them had begun on a node that is gone.
    return Remains(ends=[], begun=frozenset(keys), words=None)


def _ask(node_id: str, keys: Sequence[str]) -> Remains | None:
    try:
        call = _on(node_id, _remains).remote(keys)
        found: Remains | None = call.future().result(timeout=_PATIENCE_S)
    except Exception as error:
        _log.info("node %s cannot tell what became of %s: %s", node_id, keys[0], error)
        return None
    return found


def _remains(keys: Sequence[str]) -> Remains | None:
    """Look on this node for what a task of these attempts left; None if there is nothing."""
    directory = guard_directory()
    if len(keys) == 1:
        words = calls.last_words(directory, keys[0])
        if words is None:
            return None
        return Remains(ends=[], begun=frozenset(keys), words=words)
    notes = read_notes(directory, keys)
    if notes is None:
        return None
    ends, begun = notes
    return Remains(ends=ends, begun=frozenset([begun]), words=calls.last_words(directory, begun))


def report(
    key: str, started: Started | None, error: BaseException, words: LastWords | None
) -> Ended:
    """Return the end of an attempt that had begun when its task failed."""
    verdict = words.verdict if words else None
    outcome = Outcome(
        event=VERDICTS[verdict] if verdict else Event.LOSE,
        reason="ended by its guard" if verdict else _reason(error),
        started_at=started.started_at if started else None,
        node_id=started.node_id if started else None,
        node_ip=started.node_ip if started else None,
        worker_pid=started.worker_pid if started else None,
        error_type=None if verdict else type(error).__name__,
        error_message=None if verdict else str(error)[:4000],
    )
    return Ended(key=key, outcome=outcome, lines=log_lines(words.lines if words else ()))


def _reason(error: BaseException) -> str:
    match error:
        case exceptions.OutOfMemoryError():
            return "its node ran out of memory and Ray killed the worker"
        case exceptions.NodeDiedError():
            return "its node died"
        case exceptions.WorkerCrashedError():
            return "its worker process died"
        case exceptions.RayTaskError():
            return f"its worker failed: {str(error.cause)[:300]}"
        case _:
            return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"


_remote = lru_cache(ray.remote)  # Ray exports a function once for each wrapper of it


def _on(node_id: str, function: Any) -> Any:
    return _remote(function).options(
        num_cpus=0,
        max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
