"""What lies on a memory disk, as the frames that `rs.runs()` and its siblings give, or as files."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysched.spec.units import from_us
from raysched.testing.store import MemoryDisk

if TYPE_CHECKING:
    import pandas as pd


class Frames:
    """The history of a virtual world, as DataFrames."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk

    @property
    def decisions(self) -> pd.DataFrame:
        """The decisions, one row a slot, as `rs.decisions()` gives them."""
        return frame("decisions", self.disk.dataset("decisions"))

    @property
    def runs(self) -> pd.DataFrame:
        """The finished runs, as `rs.runs()` gives them."""
        return frame("runs", self.disk.dataset("runs"))

    @property
    def attempts(self) -> pd.DataFrame:
        """The finished attempts, as `rs.attempts()` gives them."""
        return frame("attempts", self.disk.dataset("attempts"))

    @property
    def logs(self) -> pd.DataFrame:
        """The lines of output, as `rs.logs()` gives them."""
        return frame("logs", self.disk.dataset("logs"))

    def write(self, home: str | Path) -> None:
        """Add the history to a home's files, for `rs.runs(home)` and whatever reads Parquet.

        Once for each world: written again, every row is there twice.

        Raises:
            StoreError: the disk refuses.
        """
        from raysched.store.history import History
        from raysched.store.schema import DATASETS, by_day

        history, tag = History(home), uuid.uuid4().hex
        for dataset in DATASETS:
            rows = self.disk.dataset(dataset)
            days = _by_moment(rows) if dataset == "logs" else by_day(dataset, rows)
            for day, part in days.items():
                history.write(dataset, day, f"virtual-{tag}", part)


def _by_moment(lines: Sequence[Mapping[str, Any]]) -> dict[date, list[Mapping[str, Any]]]:
    days: dict[date, list[Mapping[str, Any]]] = {}
    for line in lines:
        days.setdefault(from_us(line["ts"]).date(), []).append(line)
    return days


def frame(dataset: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of a dataset as a DataFrame."""
    from raysched.store.reader import to_frame
    from raysched.store.schema import to_table

    return to_frame(to_table(dataset, [dict(row) for row in rows]))
