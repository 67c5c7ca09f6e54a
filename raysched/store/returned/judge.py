"""What a job's return value becomes: nothing, JSON, a table, a notebook, or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from raysched.errors import UnsupportedResult
from raysched.spec.notebook import LARGEST, ExecutedNotebook
from raysched.store.returned.foreign import FIX, RETURN, refusing, type_name
from raysched.store.returned.tables import reader_of
from raysched.store.returned.values import TYPES, json_text


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
        batches = reader_of(value, name)
        if batches is not None:
            return Result(kind="parquet", type_name=name, batches=batches)
        if kind in TYPES:
            return Result(kind="json", type_name=name, json=json_text(value))
    raise UnsupportedResult(
        f"a job returned {name}, which no Parquet file or JSON column can hold.",
        fix=FIX.get(name, RETURN),
    )


def _notebook(content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise UnsupportedResult(
            f"the executed notebook has {len(content):,} bytes.",
            why=f"{LARGEST:,} is the most; its outputs make it large.",
            fix="write large data to files, and display less of it.",
        )
    return content
