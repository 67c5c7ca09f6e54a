"""The archivist: an actor beside the home that reads it for clients which do not see it.

The scheduler makes it when the first of them asks, and it ends with the scheduler. A
process of its own: however much somebody asks for, the scheduler decides undisturbed.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysched.errors import RayschedError
from raysched.store.archive import Question
from raysched.store.desk import Desk

_THREADS = 8


class Archivist:
    """A `Desk` behind Ray calls; errors are answers."""

    def __init__(self, home: str, state_url: str | None) -> None:
        self._desk = Desk(home, state_url)

    def ask(self, question: Question) -> Any:
        return self._answer("ask", question)

    def more(self, name: str, number: int) -> Any:
        return self._answer("more", name, number)

    def summary(self) -> Any:
        return self._answer("summary")

    def resolve(self, prefix: str) -> Any:
        return self._answer("resolve", prefix)

    def file(self, path: str, offset: int) -> Any:
        return self._answer("file", path, offset)

    def _answer(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._desk, method)(*arguments)
        except RayschedError as error:
            return error


def start(home: str, state_url: str | None) -> Any:
    """Start an archivist on this node, which ends with this process."""
    here = ray.get_runtime_context().get_node_id()
    options = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_concurrency": _THREADS,
        "enable_task_events": False,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }
    return ray.remote(Archivist).options(**options).remote(home, state_url)
