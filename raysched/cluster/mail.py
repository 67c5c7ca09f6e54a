"""Orders and reports as sealed letters: the launcher carries them and opens none.

A letter is pickled once, where it is written, and unpickled once, where it is read;
on the way it is bytes, which Ray passes on as they are. Both ends are processes of
the same cluster that run the same code anyway.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from raysched.core.orders import Ended, Order, Report


class OrderLetter(NamedTuple):
    """An order, with what the launcher must know of it written on the envelope."""

    key: str
    shape: str
    code_hash: str
    body: bytes


class ReportLetter(NamedTuple):
    """A report; `final` if it tells the end of the attempt `key`."""

    key: str
    final: bool
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """Orders that leave together, with the shapes and the code that the launcher lacks."""

    orders: Sequence[OrderLetter]
    shapes: Mapping[str, Mapping[str, Any]]
    codes: Mapping[str, bytes]


def seal_order(order: Order) -> OrderLetter:
    """Return an order as a letter."""
    return OrderLetter(order.key, order.shape.key, order.code_hash, pickle.dumps(order, protocol=5))


def seal_report(report: Report) -> ReportLetter:
    """Return a report as a letter."""
    return ReportLetter(report.key, isinstance(report, Ended), pickle.dumps(report, protocol=5))


def open_order(body: bytes) -> Order:
    """Return the order in a letter."""
    order: Order = pickle.loads(body)
    return order


def open_report(letter: ReportLetter) -> Report:
    """Return the report in a letter."""
    report: Report = pickle.loads(letter.body)
    return report


def bag(letters: Any) -> bytes:
    """Return letters, with whatever goes with them, as one piece for the journey."""
    return pickle.dumps(letters, protocol=5)


def unbag(piece: bytes) -> Any:
    """Return what `bag` was given."""
    return pickle.loads(piece)
