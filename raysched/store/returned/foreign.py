"""How a class that nobody knows is named, its attributes seen, and its exceptions caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raysched.errors import UnsupportedResult

RETURN = "return None, a number, text, a list or dict of those, a DataFrame or an Arrow table."
FIX = {
    "numpy.ndarray": "return pandas.DataFrame(array), or array.tolist() if it is small.",
    "set": "return sorted(value).",
    "frozenset": "return sorted(value).",
    "bytes": "return value.decode(), or a DataFrame with a column of bytes.",
    "bytearray": "return value.decode(), or a DataFrame with a column of bytes.",
    "generator": "return list(value), or to stream pyarrow.RecordBatchReader."
    "from_batches(schema, value).",
    "coroutine": "return asyncio.run(value).",
    "complex": "return [value.real, value.imag].",
    "datetime.datetime": "return value.isoformat().",
    "datetime.date": "return value.isoformat().",
    "datetime.timedelta": "return value.total_seconds().",
    "decimal.Decimal": "return str(value).",
    "uuid.UUID": "return str(value).",
    "pathlib.PosixPath": "return str(value).",
}


def type_name(value: object) -> str:
    """The qualified name of a value's real type, whatever its class claims.

    Printable ASCII of bounded length: no class can smuggle control characters or
    markup of its choice into a terminal at length, or run code by being named.
    """
    kind = type(value)
    # `type`'s own descriptors, since a metaclass may have others.
    parts = [type.__dict__[name].__get__(kind) for name in ("__module__", "__qualname__")]
    texts = [str.__str__(part) for part in parts if issubclass(type(part), str)]
    return ascii(".".join(texts).removeprefix("builtins."))[1:-1][:100]


@contextmanager
def refusing(name: str, what: str) -> Iterator[None]:
    """Turn whatever foreign code raises into an UnsupportedResult.

    Raises:
        UnsupportedResult: anything was raised inside, even SystemExit: a value that
            ends its process when looked at must fail its run, not its worker.
    """
    try:
        yield
    except UnsupportedResult:
        raise
    except BaseException as error:
        # The arguments are read behind the back of a `__str__` that may raise too.
        args = BaseException.args.__get__(error)  # type: ignore[attr-defined]
        text = args[0] if args and type(args[0]) is str else ""
        raise UnsupportedResult(
            f"a job returned {name}, but {what}.",
            why=f"{type_name(error)}: {short(text)}",
            fix=RETURN,
        ) from error


def own(kind: type) -> Any:
    """A class's own attributes, unseen by its metaclass."""
    return type.__dict__["__dict__"].__get__(kind)


def short(text: str) -> str:
    """Return the beginning of a text, quoted, in ASCII."""
    return ascii(text) if len(text) <= 200 else f"{text[:200]!a}…"
