"""Runs container jobs on this node's Docker engine: one attempt, one container, one room.

`attempt` runs it or takes it over; `stop` ends it from any process of the node; `reaper`
ends what nobody watches. See docs/containers-operation.md.
"""

from raysched.runners.container.attempt import ContainerAttempt
from raysched.runners.container.stop import holds, stop, watched
from raysched.runners.container.task import OUT, Ending, Task

__all__ = ["OUT", "ContainerAttempt", "Ending", "Task", "holds", "stop", "watched"]
