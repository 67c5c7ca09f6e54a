"""The history's writer: rows become immutable files, many small files become one.

Law: `write` returns only when the rows would survive a power failure, and a name
once written is never written twice, not even after a roll-up took its file
away. So the database may seal, crash, and seal again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raysched.errors import StoreError
from raysched.store import layout, parquet
from raysched.store.home import Home, LocalHome, open_home, storing
from raysched.store.rollup import RollUp
from raysched.store.schema import DATASETS, FOLDER_TIME, conform, schema_of, to_table

_MANY = 32  # so many small files of a day are rolled up before the day is over


class History:
    """The files of runs, attempts, decisions and logs in one home.

    Threads may share one. One process writes; a second one, such as a scheduler
    that has not noticed its successor yet, cannot lose or double a row.
    """

    def __init__(
        self, home: str | Path | Home, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the history, making the home if there is none.

        Raises:
            StoreError: the home cannot be made or written, or is a newer raysched's.
        """
        self.home = open_home(home, create=True)
        self._names = threading.Lock()  # held while a name appears or folders are swapped
        self._settled: set[tuple[str, date]] = set()  # days that were found rolled up
        self._roll_up = (
            RollUp(self.home, self._names, clock) if isinstance(self.home, LocalHome) else None
        )

    def write(
        self, dataset: str, day: date, name: str, rows: Sequence[Mapping[str, Any]] | pa.Table
    ) -> str:
        """Make rows durable as one file of a day; returns the file's path below home.

        The name stands for the rows: the same name always brings the same rows.
        Written again it changes nothing, whether its file is still there or was merged
        into another, whose path is returned then. No rows make no file, and the path
        is "".

        Raises:
            StoreError: the rows do not fit the schema or the day, the name is no
                plain name, or the disk refuses; nothing has appeared then.
        """
        layout.check_name(name)
        table = conform(dataset, rows) if isinstance(rows, pa.Table) else to_table(dataset, rows)
        if table.num_rows == 0:
            return ""
        _check_day(dataset, day, table)
        rel = f"{layout.folder(dataset, day)}/{name}.parquet"
        temp = self.home.new_temp()
        with storing(f"the history file {rel} cannot be written."):
            self.home.stage(temp, lambda file: parquet.write(file, table.schema, [table]))
            # If this process dies here, the staged file is swept up by `recover`.
            with self._names:
                held = self._roll_up and self._roll_up.holder(dataset, day, name)
                if held:
                    self.home.discard(temp)
                    self.home.sync(layout.folder(dataset, day))  # the first try may not have
                    return held
                self.home.claim(temp, rel)
                self._settled.discard((dataset, day))
        return rel

    def days(self, dataset: str) -> list[date]:
        """The days that have files, in order. Raises: InputError, StoreError."""
        schema_of(dataset)
        with storing(f"the history folder {dataset} cannot be listed."):
            return layout.days(self.home, dataset)

    def files(self, dataset: str, day: date) -> list[str]:
        """The files of a day, relative to the home, in order. Raises: InputError, StoreError."""
        schema_of(dataset)
        with storing(f"the history folder {dataset} cannot be listed."):
            return layout.files(self.home, dataset, day)

    def needs_roll_up(self, today: date) -> list[tuple[str, date]]:
        """Days worth merging: past ones with several small files, any with very many.

        Always empty where `roll_up` can do nothing.

        Raises:
            StoreError: the folders cannot be listed.
        """
        if self._roll_up is None or not self.home.can_swap:
            return []
        wanted = []
        for dataset in DATASETS:
            for day in self.days(dataset):
                # A day that is over and merged stays so until a late row comes: with
                # years of history, looking at each again would cost a second.
                if (dataset, day) in self._settled:
                    continue
                with self._names:  # else a file written meanwhile could count as settled
                    small = self._roll_up.small_files(dataset, day)
                    if len(small) > (1 if day < today else _MANY):
                        wanted.append((dataset, day))
                    elif day < today:
                        self._settled.add((dataset, day))
        return wanted

    def roll_up(self, dataset: str, day: date) -> int:
        """Merge the small files of a day into one; returns how many were merged.

        Whoever lists the folder sees the old files or the new one, never both and
        never neither. 0 when there is nothing to do, another process is at it, or
        this home has no atomic exchange of folders: NFS, object stores, anything
        but Linux. The files then stay as they are, which only costs reading time.

        Raises:
            StoreError: a file of the day is damaged, or the disk refuses; the day
                is as it was then.
        """
        schema_of(dataset)
        if self._roll_up is None or not self.home.can_swap:
            return 0
        with storing(f"{layout.folder(dataset, day)} cannot be rolled up."):
            return self._roll_up.run(dataset, day)

    def recover(self) -> int:
        """Remove what a crash left unfinished; returns how many leftovers there were.

        Called once, before the first `write` of a process. Another process's
        unfinished file may be swept away too; that process is told by its own
        `write`, and has forgotten nothing.

        Raises:
            StoreError: the disk refuses.
        """
        if self._roll_up is None:
            return 0  # object stores expire what is left under `.staging` by a lifecycle rule
        with storing("the history's leftovers cannot be removed."):
            return self._roll_up.recover()


def _check_day(dataset: str, day: date, table: pa.Table) -> None:
    """Refuse rows in another day's folder: a reader that prunes would never find them."""
    if isinstance(day, datetime) or not isinstance(day, date):
        raise StoreError(f"{day!r} is no date.")
    column = FOLDER_TIME.get(dataset)
    if column is None:
        return
    ends = table.column(column)
    # Two instants bound them all; a null would be in no day at all.
    bounds = pc.min_max(ends.cast(pa.timestamp("us")), skip_nulls=False).as_py()
    found = {None if end is None else end.date() for end in bounds.values()}
    if found != {day}:
        raise StoreError(
            f"rows of {dataset} do not belong in the folder of {day}.",
            why=f"their {column} is on {' to '.join(sorted(map(str, found)))}.",
            fix="split them with by_day().",
        )
