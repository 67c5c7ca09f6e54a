"""What of a return value is a table, and whether its columns have a form in Parquet."""

from __future__ import annotations

import io
import sys
from collections import Counter
from typing import Any

import pyarrow as pa

from raysched.errors import UnsupportedResult
from raysched.store import parquet
from raysched.store.returned.foreign import own, short, type_name


def reader_of(value: Any, name: str) -> pa.RecordBatchReader | None:
    """Return a reader over a table-like value, or None if it is not one.

    `name` is that of its type, for errors.

    Raises:
        UnsupportedResult: a column has no form in Arrow or Parquet; names it.
    """
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
    elif any("__arrow_c_stream__" in own(base) for base in type.__dict__["__mro__"].__get__(kind)):
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
                    f"a job returned {name} whose column {short(str(label))} "
                    f"of type {column.dtype} holds {_few(held)}, which Arrow cannot hold.",
                    why=short(str(inner)),
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
                f"a job returned {name} whose column {short(field.name)} "
                f"of type {short(str(field.type))} has no form in Parquet.",
                why=short(str(error)),
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
                f"a job returned {name} with two columns named {short(column)}.",
                fix="give each column its own name.",
            )


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
