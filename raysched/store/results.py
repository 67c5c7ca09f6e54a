"""What a job's return value becomes: nothing, a column of JSON, or a file.

Law: a value is judged by its real type, and only known types are ever asked
anything. Whatever else a job returns is refused with an error that names the
type and says what to return. A result's file is staged by the worker and
published by the scheduler, which trusts no path that it is given. So is what an
attempt leaves that has no result: the notebook as far as it came.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from raysched.errors import StoreError, UnsupportedResult
from raysched.store import parquet
from raysched.store.home import STAGING, Fill, Home, LocalHome, Staging, open_home, storing
from raysched.store.returned import Result, classify, refusing

RESULTS, PARTIAL = "results", "partial"
STAGED = f"{STAGING}/{RESULTS}"
_PLAIN = re.compile(r"[A-Za-z0-9@.+_-]", re.ASCII)
_LONGEST = 160  # bytes; a file name has 255, and the attempt and the suffix need theirs

TABLE, NOTEBOOK = "parquet", "ipynb"
"""The suffixes that a result's file may have."""

_PART = r"(?:[A-Za-z0-9@+~%-][A-Za-z0-9@.+~%_-]*)"
_SUFFIX = rf"(?P<suffix>{TABLE}|{NOTEBOOK})"
_HIDDEN = re.compile(
    rf"{re.escape(STAGED)}/(?P<job>{_PART})/(?P<run>{_PART})#(?P<attempt>\d+)"
    rf"\.[0-9a-f]{{32}}\.{_SUFFIX}\.tmp",
    re.ASCII,
)
_FINAL = re.compile(
    rf"(?:{RESULTS}/{_PART}/{_PART}|{PARTIAL}/{_PART}/{_PART}#\d+)\.{_SUFFIX}", re.ASCII
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A result that a worker has made durable and the scheduler may publish."""

    rows: int | None  # None for what is no table
    hidden_path: str  # both relative to the home
    final_path: str


def file_name(text: str) -> str:
    """A name or id as a part of a path: readable, and never the same for two texts.

    ':' becomes '~', so `etl@2026-11-22T06:00:00Z` stays legible and fits every file
    system and URL. Anything else unusual is %-escaped, a leading '.' or '_' as well,
    because readers skip such files. What is too long ends in a digest.

    Raises:
        StoreError: the text is empty.
    """
    if not text:
        raise StoreError("an empty text cannot name a file.")
    escaped = "".join(
        "~" if char == ":" else char if _PLAIN.match(char) else _escape(char) for char in text
    )
    if escaped[0] in "._":
        escaped = _escape(escaped[0]) + escaped[1:]
    if len(escaped) > _LONGEST:
        digest = hashlib.sha256(escaped.encode()).hexdigest()[:32]
        return f"{escaped[:100]}%%{digest}"  # no escape has two % in a row
    return escaped


def _escape(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def result_path(job: str, run_id: str, suffix: str = TABLE) -> str:
    """Where a run's published result lies, relative to the home."""
    return f"{RESULTS}/{file_name(job)}/{file_name(run_id)}.{suffix}"


def published_path(job: str, run_id: str, hidden: str) -> str:
    """Where a run's staged result is to be published, relative to the home.

    Raises:
        StoreError: the path is not one that `stage` makes.
    """
    staged = _HIDDEN.fullmatch(hidden)
    if not staged:
        raise StoreError(
            "a result cannot be published.", why=f"{hidden[:300]!r} is no staged result."
        )
    return result_path(job, run_id, staged["suffix"])


def partial_path(job: str, run_id: str, attempt: int) -> str:
    """Where the notebook of an attempt that failed lies, relative to the home."""
    # Not below a dataset or among results: plain readers would take it for Parquet.
    return f"{PARTIAL}/{owned_by(job, run_id, attempt)}.{NOTEBOOK}"


def owner(hidden: str) -> str | None:
    """Whose a staged result is: what `owned_by` gives for its attempt; None if it is none."""
    found = _HIDDEN.fullmatch(hidden)
    return None if found is None else "{}/{}#{}".format(*found.group("job", "run", "attempt"))


def owned_by(job: str, run_id: str, attempt: int) -> str:
    """The beginning of the names of an attempt's staged results."""
    return f"{file_name(job)}/{file_name(run_id)}#{int(attempt)}"


def write_result(
    home: str | Path | Staging, job: str, run_id: str, attempt: int, value: object
) -> Written:
    """In the worker: make a result durable where no reader sees it yet.

    `value` is a table-like value or a notebook, or the `Result` that `classify` made of
    it. A reader of record batches is written as it comes and never held whole.

    Raises:
        UnsupportedResult: the value does not become a file, or fails on the way.
        StoreError: the disk refuses. Nothing is left behind in either case.
    """
    result = value if isinstance(value, Result) else classify(value)
    put = partial(stage, home, job=job, run_id=run_id, attempt=attempt)
    if (content := result.notebook) is not None:
        return put(suffix=NOTEBOOK, fill=lambda file: file.write(content))
    if result.batches is None:
        raise StoreError(f"a result of kind {result.kind} needs no file.")
    batches, rows = result.batches, 0

    def tables() -> Iterator[pa.Table]:
        while True:
            with refusing(result.type_name, "it failed while its batches were read"):
                try:
                    batch = batches.read_next_batch()
                except StopIteration:
                    return
            yield pa.Table.from_batches([batch], batches.schema)

    def fill(file: object) -> None:
        nonlocal rows
        rows = parquet.write(file, batches.schema, tables())

    try:
        return replace(put(suffix=TABLE, fill=fill), rows=rows)
    except pa.ArrowException as error:
        raise UnsupportedResult(
            f"a job returned {result.type_name}, which Parquet cannot hold.",
            why=str(error)[:500],
            fix="return a DataFrame with plain column types.",
        ) from error


def stage(
    home: str | Path | Staging, *, job: str, run_id: str, attempt: int, suffix: str, fill: Fill
) -> Written:
    """In the worker: make a file durable where no reader sees it, whatever it holds.

    Raises:
        StoreError: the disk refuses. Nothing is left behind then, nor if `fill` raises.
    """
    final = result_path(job, run_id, suffix)
    # The token keeps a stale attempt's file apart from one of the same number.
    hidden = f"{STAGED}/{owned_by(job, run_id, attempt)}.{uuid.uuid4().hex}.{suffix}.tmp"
    place = open_home(home) if isinstance(home, str | Path) else home
    with storing(f"the result of {run_id} cannot be written."):
        place.stage(hidden, fill, keep=True)
    return Written(rows=None, hidden_path=hidden, final_path=final)


def publish(home: str | Path | Home, hidden: str, final: str) -> None:
    """In the scheduler, once the attempt is accepted: let readers see a staged file.

    `final` is where the run's result goes, or where its attempt's notebook goes.

    Published already is fine, so that a crash in between may be repeated.

    Raises:
        StoreError: the paths are not two places of one attempt's file, the file is
            damaged, or it is in neither place.
    """
    source = _HIDDEN.fullmatch(hidden)
    if not source or final not in _places(source):
        raise StoreError(
            "a result cannot be published.",
            why=f"{hidden[:300]!r} and {final[:300]!r} are not two places of one attempt's file.",
        )
    place = open_home(home)
    with storing(f"the result {final} cannot be published."):
        no_links(place, hidden)
        no_links(place, final)
        if not place.exists(hidden):
            if place.exists(final):
                return
            raise StoreError(
                f"the result {final} is gone.",
                why="it is neither staged nor published.",
                fix="is the home that the workers write to the one of the scheduler?",
            )
        if source["suffix"] == TABLE:
            # One damaged file would fail every scan of this job's results.
            parquet.footer(place, hidden)
        place.place(hidden, final)


def _places(staged: re.Match[str]) -> tuple[str, str]:
    """Where a staged file may go: as its run's result, or as what its attempt leaves."""
    job, run, attempt, suffix = staged.group("job", "run", "attempt", "suffix")
    return f"{RESULTS}/{job}/{run}.{suffix}", f"{PARTIAL}/{job}/{run}#{attempt}.{suffix}"


def discard(home: str | Path | Home, hidden: str) -> None:
    """In the scheduler: drop the staged result of an attempt that was not accepted.

    Raises:
        StoreError: the path is not one that `write_result` makes.
    """
    if not _HIDDEN.fullmatch(hidden):
        raise StoreError("a result cannot be dropped.", why=f"{hidden[:300]!r} is no staged one.")
    place = open_home(home)
    with storing(f"the staged result {hidden} cannot be removed."):
        no_links(place, hidden)
        place.discard(hidden)


def read_result(home: str | Path | Home, path: str) -> pa.Table:
    """A published table, verified; a DataFrame comes back by `.to_pandas()`.

    Raises:
        StoreError: the path is not one of a table, or the file is damaged or gone.
    """
    return parquet.read(published(home, path, TABLE), path)


def read_notebook(home: str | Path | Home, path: str) -> bytes:
    """A published notebook, as the bytes of its file.

    Raises:
        StoreError: the path is not one of a notebook, or the file is gone.
    """
    place = published(home, path, NOTEBOOK)
    with storing(f"the result {path} cannot be read."):
        return place.read_bytes(path)


def read_piece(home: str | Path | Home, path: str, offset: int, most: int) -> bytes:
    """Up to `most` bytes of a published result's file from `offset` on; empty at its end.

    Raises:
        StoreError: the path is not one of a result, or the file is gone.
    """
    place = published(home, path)
    with (
        storing(f"the result {path} cannot be read."),
        place.fs.open_input_file(place.path(path)) as file,
    ):
        left = file.size() - int(offset)
        return bytes(file.read_at(min(most, left), int(offset))) if left > 0 else b""


def check_published(path: str, suffix: str | None = None) -> None:
    """Refuse a path that is not one of a published result, of this kind if one is named.

    Raises:
        StoreError: it is not.
    """
    found = _FINAL.fullmatch(path)
    if not found or suffix not in (None, found["suffix"]):
        raise StoreError("a result cannot be read.", why=f"{path[:300]!r} is no path of one.")


def published(home: str | Path | Home, path: str, suffix: str | None = None) -> Home:
    """Return the home of a published result that may be read. Raises: StoreError."""
    check_published(path, suffix)
    place = open_home(home)
    with storing(f"the result {path} cannot be read."):
        no_links(place, path)
    return place


def no_links(home: Home, rel: str) -> None:
    """Refuse a path that a symbolic link leads elsewhere.

    Raises:
        StoreError: there is one on the way.
    """
    if not isinstance(home, LocalHome):
        return
    with suppress(FileNotFoundError):
        at = Path(home.root)
        for part in rel.split("/"):
            at /= part
            if at.is_symlink():
                raise StoreError(f"{at} is a symbolic link.", fix="remove it.")
