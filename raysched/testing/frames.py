"""What lies on a memory disk, as the frames that `rs.runs()` and its siblings give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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


def frame(dataset: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of a dataset as a DataFrame."""
    from raysched.store.reader import to_frame
    from raysched.store.schema import to_table

    return to_frame(to_table(dataset, [dict(row) for row in rows]))
