"""Sealing: finished rows move from the state database into files, each once.

Law: a row is deleted only after the file that holds it is durable, and a file's
name stands for its rows. What is moved together is written down first, as a plan;
whoever finds a plan completes it, from whatever step a crash left it at, and comes
to the same names.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
from sqlalchemy import delete, func, select

from raysched.core.ports import Clock
from raysched.errors import RayschedError
from raysched.spec.units import EPOCH
from raysched.store.history import History
from raysched.store.loading import parsed
from raysched.store.schema import to_table
from raysched.store.sql import SqlStore
from raysched.store.tables import meta, outbox

_PAGE = 1_000  # rows of the outbox, and
_PAGE_CHARS = 4 * 1024 * 1024  # characters, that are parsed at a time
_DELETED = 1_000  # rows of the outbox that one transaction deletes
_WHAT = "finished rows could not be sealed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is being moved: all rows up to number `upto`.

    `tag` is drawn for each plan, so that no other plan's file has a name of this one's,
    not even when state.db was deleted or restored from a backup and counts its rows
    anew. `rows` and `chars` say where one file ends; they are written down because
    the raysched that completes a plan may be another version than the one that made it.
    """

    upto: int
    tag: str
    written: bool = False
    rows: int
    chars: int = 64 * 1024 * 1024


class _Group(NamedTuple):
    """The rows that go to one folder."""

    dataset: str
    day: int


class Sealer:
    """Moves the rows of a store into a history; one thread at a time, beside the engine's."""

    def __init__(
        self, store: SqlStore, history: History, clock: Clock, *, rows_per_file: int = 50_000
    ) -> None:
        self._rows = rows_per_file
        self._store = store
        self._history = history
        self._clock = clock
        self._seen = 0
        self._turn = threading.Lock()

    def seal(self, everything: bool = False) -> list[str]:
        """Move rows into files, roll days up, and return the paths of the new files below home.

        Rows younger than the previous call stay, unless `everything` is to go: a request
        that a client repeats finds its run in the database for one more period.

        Raises:
            StaleEpoch: another scheduler has opened the home since; it seals what is left.
            StoreError: the database or the disk refuses, or a row does not fit its
                columns. Nothing is lost, and the next call goes on from there.
        """
        with self._turn:
            paths: list[str] = []
            plan = self._planned()
            if plan is not None:
                paths += self._complete(plan)
            newest = self._newest()
            upto, self._seen = newest if everything else min(self._seen, newest), newest
            plan = self._make_plan(upto)
            if plan is not None:
                paths += self._complete(plan)
            self._roll_up()
            return paths

    def _planned(self) -> Plan | None:
        with self._store.fenced("share", _WHAT) as connection:
            found = connection.execute(select(meta.c.value).where(meta.c.key == "plan")).scalar()
        return None if found is None else Plan(**json.loads(found))

    def _newest(self) -> int:
        with self._store.fenced("share", _WHAT) as connection:
            return connection.execute(select(func.max(outbox.c.seq))).scalar() or 0

    def _make_plan(self, upto: int) -> Plan | None:
        with self._store.fenced("write", _WHAT) as connection:
            oldest = connection.execute(select(func.min(outbox.c.seq))).scalar()
            if oldest is None or oldest > upto:
                return None
            plan = Plan(upto=upto, tag=uuid.uuid4().hex[:12], rows=self._rows)
            connection.execute(meta.insert().values(key="plan", value=json.dumps(asdict(plan))))
        return plan

    def _complete(self, plan: Plan) -> list[str]:
        """Carry a plan out, from the beginning or from where a crash left it."""
        paths: list[str] = []
        if not plan.written:
            # A crash in here leaves some of the files. The rows are all still there, so
            # the same files are written again, and `write` knows those that exist.
            for group in self._groups(plan):
                paths += self._write(plan, group)
            # From this line on no file is written again: rows start to go, and what is
            # left of them would make a file of another name.
            self._keep(replace(plan, written=True))
        # A crash in here leaves rows that are in files too. Readers go by their keys.
        while self._delete_some(plan):
            pass
        self._keep(None)
        return paths

    def _keep(self, plan: Plan | None) -> None:
        with self._store.fenced("write", _WHAT) as connection:
            connection.execute(delete(meta).where(meta.c.key == "plan"))
            if plan is not None:
                value = json.dumps(asdict(plan))
                connection.execute(meta.insert().values(key="plan", value=value))

    def _groups(self, plan: Plan) -> list[_Group]:
        query = select(outbox.c.dataset, outbox.c.day).where(outbox.c.seq <= plan.upto).distinct()
        with self._store.fenced("share", _WHAT) as connection:
            return sorted(_Group(*row) for row in connection.execute(query))

    def _write(self, plan: Plan, group: _Group) -> list[str]:
        """Write the files of one folder, as many as it takes."""
        paths: list[str] = []
        last = 0
        while True:
            piece = _Piece(plan, group, after=last)
            while page := self._page(piece):
                piece.add(page)
            if not piece.tables:
                return paths
            name = f"{piece.first:012d}-{piece.last:012d}-{plan.tag}"
            day = EPOCH.date() + timedelta(days=group.day)
            paths.append(
                self._history.write(group.dataset, day, name, pa.concat_tables(piece.tables))
            )
            last = piece.last

    def _page(self, piece: _Piece) -> list[tuple[int, str]]:
        """Read some rows of the outbox.

        In the same transaction as the check of the epoch: a successor may complete this
        plan and delete its rows at any time, and a file of the rest would hold rows twice.
        """
        if piece.is_full:
            return []
        plan, (dataset, day) = piece.plan, piece.group
        query = (
            select(outbox.c.seq, outbox.c.doc)
            .where(outbox.c.dataset == dataset, outbox.c.day == day)
            .where(outbox.c.seq > piece.last, outbox.c.seq <= plan.upto)
            .order_by(outbox.c.seq)
            .limit(_PAGE)
            .execution_options(yield_per=100)
        )
        page, chars = [], 0
        with (
            self._store.fenced("share", _WHAT) as connection,
            connection.execute(query) as found,
        ):
            for seq, doc in found:
                page.append((seq, doc))
                chars += len(doc)
                if chars >= _PAGE_CHARS:
                    break
        return page

    def _delete_some(self, plan: Plan) -> bool:
        """Delete the oldest rows of a plan, few enough that the engine hardly waits."""
        with self._store.fenced("write", _WHAT) as connection:
            oldest = connection.execute(select(func.min(outbox.c.seq))).scalar()
            if oldest is None or oldest > plan.upto:
                return False
            upto = min(plan.upto, oldest + _DELETED - 1)
            connection.execute(delete(outbox).where(outbox.c.seq <= upto))
            return True

    def _roll_up(self) -> None:
        """Merge small files; a damaged day does not keep the others from it.

        Raises:
            StoreError: the first that a day raised.
        """
        failed: RayschedError | None = None
        for dataset, day in self._history.needs_roll_up(_today(self._clock)):
            try:
                self._history.roll_up(dataset, day)
            except RayschedError as error:
                failed = failed or error
        if failed:
            raise failed


class _Piece:
    """The rows of one file, gathered page by page as compact tables."""

    def __init__(self, plan: Plan, group: _Group, after: int) -> None:
        self.plan = plan
        self.group = group
        self.first = 0
        self.last = after
        self.tables: list[pa.Table] = []
        self._rows = 0
        self._chars = 0

    @property
    def is_full(self) -> bool:
        """Whether the file ends here, wherever the pages happened to end."""
        return self._rows >= self.plan.rows or self._chars >= self.plan.chars

    def add(self, page: list[tuple[int, str]]) -> None:
        """Take in rows of the outbox, up to the one that fills the file."""
        rows: list[dict[str, Any]] = []
        docs = [doc for _, doc in page]
        for (seq, doc), found in zip(page, parsed(docs), strict=True):
            self.first = self.first or seq
            self.last = seq
            self._rows += len(found)
            self._chars += len(doc)
            rows += found
            if self.is_full:
                break
        self.tables.append(to_table(self.group.dataset, rows))


def _today(clock: Clock) -> date:
    return clock.now().date()
