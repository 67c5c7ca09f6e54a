"""Judging what a job returned, without trusting it.

Law: `type(value)` decides, never `isinstance`, which a value's own `__class__`
can answer. The methods of a class that raysched does not know are not called,
not even `repr`; the one exception is `__arrow_c_stream__`, behind `refusing`.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np
import pyarrow as pa

from raysched.errors import UnsupportedResult
from raysched.spec.notebook import LARGEST, ExecutedNotebook
from raysched.store import parquet

_JSON_BYTES = 64 * 1024
_JSON_DEPTH = 50
_INT_BITS = 14_000  # beyond some 4,300 digits Python itself refuses to print one

_RETURN = "return None, a number, text, a list or dict of those, a DataFrame or an Arrow table."
_FIX = {
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

# The numpy scalars that `.item()` turns into a plain bool, int, float or str.
# longdouble is not among them: it has more digits than a float.
_NUMPY: frozenset[type] = frozenset(
    {np.bool_, np.float16, np.float32, np.float64, np.str_}
    | {np.dtype(code).type for code in "bBhHiIlLqQ"}  # every whole number
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A return value, judged: `json`, `batches` or `notebook` is set, as the kind says."""

    kind: str  # none | json | parquet | notebook
    type_name: str
    json: str | None = None
    batches: pa.RecordBatchReader | None = None
    notebook: bytes | None = None


def classify(value: object) -> Result:
    """What a job's return value becomes.

    Raises:
        UnsupportedResult: nothing that the history can hold; it names the type, the
            place inside the value, and what to return instead.
    """
    name = type_name(value)
    if value is None:
        return Result(kind="none", type_name=name)
    kind = type(value)
    if kind is ExecutedNotebook:
        content = cast(ExecutedNotebook, value).content
        return Result(kind="notebook", type_name=name, notebook=_notebook(content))
    with refusing(name, "it failed while it was read"):
        batches = _batches(value, name)
        if batches is not None:
            return Result(kind="parquet", type_name=name, batches=batches)
        if kind in _PLAIN or kind in _NUMPY:
            return Result(kind="json", type_name=name, json=_json(value))
    raise UnsupportedResult(
        f"a job returned {name}, which no Parquet file or JSON column can hold.",
        fix=_FIX.get(name, _RETURN),
    )


def _notebook(content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise UnsupportedResult(
            f"the executed notebook has {len(content):,} bytes.",
            why=f"{LARGEST:,} is the most; its outputs make it large.",
            fix="write large data to files, and display less of it.",
        )
    return content


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
            why=f"{type_name(error)}: {_short(text)}",
            fix=_RETURN,
        ) from error


def _batches(value: Any, name: str) -> pa.RecordBatchReader | None:
    """A reader over a table-like value, or None if it is not one."""
    kind = type(value)
    if issubclass(kind, pa.Table):
        reader = value.to_reader()
    elif issubclass(kind, pa.RecordBatch):
        reader = pa.RecordBatchReader.from_batches(value.schema, [value])
    elif issubclass(kind, pa.RecordBatchReader):
        reader = value
    elif (pandas := sys.modules.get("pandas")) and issubclass(
        kind, (pandas.DataFrame, pandas.Series)
    ):
        if issubclass(kind, pandas.Series):
            value = value.to_frame(name="value" if value.name is None else value.name)
        reader = _from_frame(value, name).to_reader()
    elif any("__arrow_c_stream__" in _own(base) for base in type.__dict__["__mro__"].__get__(kind)):
        reader = pa.RecordBatchReader.from_stream(value)
    else:
        return None
    plain = pa.schema(
        [_plain_field(field) for field in reader.schema],
        metadata=reader.schema.metadata,
    )
    _check_schema(plain, name)
    return reader if plain.equals(reader.schema) else reader.cast(plain)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without Arrow's views, which Polars sends and pandas cannot read back nested."""
    if kind in (pa.string_view(), pa.binary_view()):
        return pa.large_string() if kind == pa.string_view() else pa.large_binary()
    if pa.types.is_dictionary(kind) and kind.value_type != (value := _plain_type(kind.value_type)):
        return pa.dictionary(pa.int32(), value, kind.ordered)
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


def _from_frame(frame: Any, name: str) -> pa.Table:
    _no_doubles([str(label) for label in frame.columns], name)
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        for place, label in enumerate(frame.columns):
            column = frame.iloc[:, place]
            try:
                pa.array(column, from_pandas=True)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as inner:
                held = sorted({type_name(cell) for cell in column})
                raise UnsupportedResult(
                    f"a job returned {name} whose column {_short(str(label))} "
                    f"of type {column.dtype} holds {_few(held)}, which Arrow cannot hold.",
                    why=_short(str(inner)),
                    fix="give the column one type, such as "
                    "frame[column] = frame[column].astype(str), or drop it.",
                ) from error
        raise


def _check_schema(schema: pa.Schema, name: str) -> None:
    _no_doubles(schema.names, name)
    if _in_parquet(schema) is None:
        return
    for field in schema:
        if error := _in_parquet(pa.schema([field])):
            raise UnsupportedResult(
                f"a job returned {name} whose column {_short(field.name)} "
                f"of type {_short(str(field.type))} has no form in Parquet.",
                why=_short(str(error)),
                fix="cast the column to another type, or drop it.",
            ) from error


def _in_parquet(schema: pa.Schema) -> Exception | None:
    """What speaks against a schema in Parquet."""
    try:
        parquet.writer(io.BytesIO(), schema).close()
    except pa.ArrowException as error:
        against: Exception = error
        return against
    return None


def _no_doubles(names: list[str], name: str) -> None:
    for column, count in Counter(names).items():
        if count > 1:
            raise UnsupportedResult(
                f"a job returned {name} with two columns named {_short(column)}.",
                fix="give each column its own name.",
            )


def _json(value: object) -> str:
    plain = _Plain().of(value, "result", 0)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, as in odd file names: JSON can escape it
        text = json.dumps(plain, separators=(",", ":"))
        size = len(text)
    if size > _JSON_BYTES:
        _too_large()
    return text


_PLAIN = frozenset({bool, int, float, str, list, tuple, dict})


class _Plain:
    """Copies a value into one that JSON can write: exact types, bounded, acyclic."""

    def __init__(self) -> None:
        self._left = _JSON_BYTES  # each value takes a byte at least: this bounds the walk
        self._open: set[int] = set()

    def of(self, value: Any, path: str, depth: int) -> Any:
        """The copy. Raises: UnsupportedResult, naming `path`."""
        kind = type(value)
        if kind in _NUMPY:
            value = value.item()
            kind = type(value)
        self._left -= 1 + (len(value) if kind is str else 0)
        if self._left < 0:
            _too_large()
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if value.bit_length() > _INT_BITS:
                _refuse(path, "an integer of more than 4,000 digits", "return str(value).")
            return value
        if kind is float:
            if not math.isfinite(value):
                _refuse(path, f"{value}, which JSON has no form for", "return None in its place.")
            return value
        if kind in (list, tuple, dict):
            return self._inside(value, path, depth)
        name = type_name(value)
        return _refuse(path, name, _FIX.get(name, _RETURN))

    def _inside(self, value: Any, path: str, depth: int) -> Any:
        if id(value) in self._open:
            _refuse(path, "itself again", "return values without cycles.")
        if depth >= _JSON_DEPTH:
            _refuse(path, f"more than {_JSON_DEPTH} levels", "return a flatter value.")
        self._open.add(id(value))
        copy: Any
        if type(value) is dict:
            copy = {}
            for key, item in value.items():
                if type(key) is not str:
                    _refuse(path, f"a key of type {type_name(key)}", "use text for keys.")
                self._left -= len(key)
                copy[key] = self.of(item, f"{path}[{_short(key)}]", depth + 1)
        else:
            copy = [self.of(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        self._open.discard(id(value))
        return copy


def _refuse(path: str, what: str, fix: str) -> NoReturn:
    raise UnsupportedResult(f"a job's {path} is or holds {what}.", fix=fix)


def _too_large() -> NoReturn:
    raise UnsupportedResult(
        f"a job's result is more than {_JSON_BYTES // 1024} KiB of JSON.",
        why="small results are a column of the run; large ones are files.",
        fix="return a DataFrame.",
    )


def _own(kind: type) -> Any:
    """A class's own attributes, unseen by its metaclass."""
    return type.__dict__["__dict__"].__get__(kind)


def _short(text: str) -> str:
    return ascii(text) if len(text) <= 200 else f"{text[:200]!a}…"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
