"""What the scheduler tells a launcher, and what it hears back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from raysched.core.model import Outcome
from raysched.core.pickling import by_fields
from raysched.spec.container import Container


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What Ray must provide for a run; runs of the same shape may share a task.

    `options` are Ray's own task options, JSON-able.
    """

    key: str
    options: Mapping[str, Any]


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt to launch. `key` fences it; launching the same key twice is harmless.

    One that is `resumed` may have begun under an earlier launcher, on the node `node_id`
    if that is known, and its container may be running there.
    """

    key: str
    run_id: str
    attempt: int
    job: str
    version: str
    code_hash: str
    shape: Shape
    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    slot: datetime | None = None
    timezone: str = "UTC"
    timeout_s: float | None = None
    container: Container | None = None
    resumed: bool = False
    node_id: str | None = None


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of an attempt's output; `line_no` counts from 1 over both streams."""

    ts_us: int
    stream: str
    line_no: int
    text: str


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker announces an attempt that lasts long enough to be worth a message.

    `address` is where the guard of that worker listens, on its node.
    """

    key: str
    started_at: datetime
    node_id: str
    node_ip: str
    worker_pid: int
    address: str = ""


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """News of a running attempt: how far it is, and the lines it has written since."""

    key: str
    progress: tuple[float, float] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    lines: Sequence[LogLine] = ()


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an attempt, with the lines not told before."""

    key: str
    outcome: Outcome
    lines: Sequence[LogLine] = ()


Report = Started | Beat | Ended
