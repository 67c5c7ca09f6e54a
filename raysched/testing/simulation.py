"""The production engine over fakes, driven through virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from raysched.core.ports import Launcher, Results, Store
from raysched.engine.engine import Engine
from raysched.engine.messages import Deploy, Deployment, Message
from raysched.errors import InputError, RayschedError
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import Instant, instant, iso
from raysched.testing.clock import FakeClock
from raysched.testing.launcher import FakeLauncher, Script
from raysched.testing.store import MemoryDisk, MemoryStore

if TYPE_CHECKING:
    import pandas as pd


class NoResults:
    """A `Results` for attempts that leave no files."""

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        """Return the path as it is."""
        return hidden


class World:
    """A clock, a disk, a launcher and a scheduler that can be killed and started again.

    `store`, `launcher` and `results` may be wrapped, for example to crash at a
    durable step.
    """

    def __init__(
        self,
        *,
        start: datetime,
        script: Script | None = None,
        store: Callable[[Store], Store] = lambda store: store,
        launcher: Callable[[FakeLauncher], Launcher] = lambda launcher: launcher,
        results: Results | None = None,
        window: int = 64,
    ) -> None:
        self.clock = FakeClock(start)
        self.disk = MemoryDisk()
        self.launcher = FakeLauncher(self.clock, script)
        self._wrap_store = store
        self._wrapped_launcher = launcher(self.launcher)
        self._results = results or NoResults()
        self._window = window
        self.engine: Engine | None = None

    def start_scheduler(self) -> None:
        """Start a scheduler on the disk; an earlier one is forgotten, as after `kill -9`."""
        self.engine = None
        self.engine = Engine(
            clock=self.clock,
            store=self._wrap_store(MemoryStore(self.disk)),
            launcher=self._wrapped_launcher,
            results=self._results,
            window=self._window,
        )

    def kill_scheduler(self) -> None:
        """Drop the scheduler and all it has in memory."""
        self.engine = None

    def ask(self, message: Message) -> Any:
        """Return the engine's reply to a message.

        Raises:
            RayschedError: the reply, if it is an error.
        """
        return self.ask_all([message])[0]

    def ask_all(self, messages: Sequence[Message]) -> list[Any]:
        """Return the engine's replies to messages that arrive together.

        Raises:
            RayschedError: the first reply that is an error.
        """
        assert self.engine is not None
        news = self.launcher.collect()
        replies = self.engine.turn([*news, *messages]).replies[len(news) :]
        self.launcher.acknowledge()
        for reply in replies:
            if isinstance(reply, RayschedError):
                raise reply
        return list(replies)

    def deploy(self, *jobs: DeclaredJob) -> list[dict[str, Any]]:
        """Deploy jobs without their code, which nothing here runs."""
        reply: list[dict[str, Any]] = self.ask(
            Deploy(
                deployments=[
                    Deployment(spec=job.spec, code_hash="simulated", code=b"") for job in jobs
                ]
            )
        )
        return reply

    def run_until(self, end: datetime) -> None:
        """Let time pass; with no scheduler, only the launcher's attempts go on."""
        while (moment := self._next()) is not None and moment <= end:
            self.clock.move_to(moment)
            self._turn()
        self.clock.move_to(end)

    def _next(self) -> datetime | None:
        wake = self.engine.next_wake() if self.engine else None
        event = self.launcher.next_event() if self.engine else None
        return min((moment for moment in (wake, event) if moment is not None), default=None)

    def _turn(self) -> None:
        assert self.engine is not None
        self.engine.turn(self.launcher.collect())
        self.launcher.acknowledge()


class Simulation:
    """What a simulation left: every decision and every finished run."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    @property
    def decisions(self) -> pd.DataFrame:
        """The decisions, one row a slot, as `rs.decisions()` gives them."""
        return _frame("decisions", self._disk.dataset("decisions"))

    @property
    def runs(self) -> pd.DataFrame:
        """The finished runs, as `rs.runs()` gives them."""
        return _frame("runs", self._disk.dataset("runs"))


def simulate(
    jobs: Sequence[DeclaredJob], start: Instant, end: Instant, *, script: Script | None = None
) -> Simulation:
    """Run the production engine from `start` to `end` in virtual time and return what it did.

    No job's code runs: `script` says how long an attempt takes and how it ends; left
    out, each succeeds at once.

    Raises:
        InputError: `end` is not after `start`.
        InvalidUnit: a naive instant.
    """
    first, last = instant(start, of="start"), instant(end, of="end")
    if last <= first:
        raise InputError(f"end={iso(last)} is not after start={iso(first)}.", fix="swap them.")
    world = World(start=first, script=script)
    world.start_scheduler()
    world.deploy(*jobs)
    world.run_until(last)
    return Simulation(world.disk)


def _frame(dataset: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    from raysched.store.reader import to_frame
    from raysched.store.schema import to_table

    return to_frame(to_table(dataset, [dict(row) for row in rows]))
