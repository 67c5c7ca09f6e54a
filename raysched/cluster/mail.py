"""Orders and reports as sealed letters: the launcher carries them and opens none.

A letter is pickled once, where it is written, and unpickled once, where it is read;
on the way it is bytes, which Ray passes on as they are. Both ends are processes of
the same cluster that run the same code anyway.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from raysched.core.model import Outcome
from raysched.core.orders import Ended, Order, Report
from raysched.core.ports import StopOrder
from raysched.core.states import Event


class OrderLetter(NamedTuple):
    """An order, with what the launcher must know of it written on the envelope.

    `shape` is the shape's key, which is the JSON of Ray's options. `code` is the job's
    code, or None if it is so large that the launcher fetches it once by its hash. An
    attempt that is `resumable` goes on without its worker, and is watched by another.
    """

    key: str
    shape: str
    code_hash: str
    code: bytes | None
    body: bytes
    resumable: bool = False
    resumed: bool = False
    node_id: str | None = None


class Kind(StrEnum):
    """What a report tells of its attempt."""

    NEWS = "news"
    END = "end"
    OVER = "over"
    """Its task is over; its end is to come from the node that `body` names."""
    BACK = "back"
    """The worker will not begin it: what it shares a task or a process with takes long."""


class ReportLetter(NamedTuple):
    """A report about the attempt `key`."""

    key: str
    kind: Kind
    body: bytes


class Launches(NamedTuple):
    """Attempts to hand to Ray; those of one list share a task."""

    tasks: Sequence[Sequence[OrderLetter]]


class Stops(NamedTuple):
    """Attempts to end."""

    orders: Sequence[StopOrder]


Orders = Launches | Stops


def seal_order(order: Order, code: bytes | None) -> OrderLetter:
    """Return an order as a letter."""
    body = pickle.dumps(order, protocol=5)
    return OrderLetter(
        key=order.key,
        shape=order.shape.key,
        code_hash=order.code_hash,
        code=code,
        body=body,
        resumable=order.container is not None,
        resumed=order.resumed,
        node_id=order.node_id,
    )


def seal_over(key: str, node_id: str) -> ReportLetter:
    """Return the news that an attempt's task is over and its end is to come from a node."""
    return ReportLetter(key, Kind.OVER, node_id.encode())


def seal_report(report: Report) -> ReportLetter:
    """Return a report as a letter."""
    kind = Kind.END if isinstance(report, Ended) else Kind.NEWS
    return ReportLetter(report.key, kind, pickle.dumps(report, protocol=5))


def open_order(body: bytes) -> Order:
    """Return the order in a letter."""
    order: Order = pickle.loads(body)
    return order


def open_report(letter: ReportLetter) -> Report | None:
    """Return the report in a letter; one that cannot be read still tells an attempt's end.

    Workers outlive an upgrade of the scheduler, and may write what it does not know.
    """
    try:
        report: Report = pickle.loads(letter.body)
    except Exception as error:
        reason = f"its report cannot be read: {type(error).__name__}: {str(error)[:300]}"
        outcome = Outcome(event=Event.LOSE, reason=reason)
        return Ended(key=letter.key, outcome=outcome) if letter.kind is Kind.END else None
    return report


def bag(letters: Any) -> bytes:
    """Return letters, with whatever goes with them, as one piece for the journey."""
    return pickle.dumps(letters, protocol=5)


def unbag(piece: bytes) -> Any:
    """Return what `bag` was given."""
    return pickle.loads(piece)
