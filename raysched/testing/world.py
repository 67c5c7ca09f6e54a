"""The production engine in virtual time, over a disk, a clock and a launcher in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from raysched.core import records
from raysched.core.ports import Launcher, Results, Store
from raysched.engine import messages
from raysched.engine.engine import Engine
from raysched.engine.messages import Deploy, Deployment, Message
from raysched.errors import InputError, NotRunning, RayschedError
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import Duration, Instant, duration, instant
from raysched.testing.clock import EPOCH, FakeClock
from raysched.testing.frames import Frames, frame
from raysched.testing.inprocess import InProcess, Takes
from raysched.testing.launcher import FakeLauncher, Script
from raysched.testing.store import MemoryDisk, MemoryStore

if TYPE_CHECKING:
    import pandas as pd


class NoResults:
    """A `Results` for attempts that leave no files."""

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        """Return the path as it is."""
        return hidden

    def publish_partial(self, run_id: str, job: str, attempt: int, hidden: str) -> str:
        """Return the path as it is."""
        return hidden

    def discard(self, hidden: str) -> None:
        """There is nothing to remove."""


class World(Frames):
    """A clock, a disk, a launcher and a scheduler that can be killed and started again.

    No job's code runs: `script` says, for each launch order, how long the attempt takes
    and how it ends; left out, each succeeds at once. With `run_code=True` the functions
    really run, in this process, and take as much virtual time as `takes` says.

    The scheduler starts with the first thing that is asked of it. `store`, `launcher` and
    `results` may be wrapped, for example to crash at a durable step.
    """

    def __init__(
        self,
        start: Instant = EPOCH,
        *,
        script: Script | None = None,
        run_code: bool = False,
        takes: Takes = "0s",
        store: Callable[[Store], Store] = lambda store: store,
        launcher: Callable[[FakeLauncher], Launcher] = lambda launcher: launcher,
        results: Results | None = None,
        window: int = 64,
    ) -> None:
        if run_code and script:
            raise InputError(
                "run_code and script exclude each other.",
                why="either the jobs' code runs, or the script says what comes of it.",
                fix="leave one of them out.",
            )
        super().__init__(MemoryDisk())
        self.clock = FakeClock(instant(start, of="start"))
        self.in_process = InProcess(self.clock, takes) if run_code else None
        self.launcher = FakeLauncher(self.clock, self.in_process or script)
        self._wrap_store = store
        self._wrapped_launcher = launcher(self.launcher)
        self._results = results or self.in_process or NoResults()
        self._window = window
        self._requests = 0
        self.engine: Engine | None = None
        self._untouched = True

    def start_scheduler(self) -> None:
        """Start a scheduler on the disk; an earlier one is forgotten, as after `kill -9`."""
        self.kill_scheduler()
        self.engine = Engine(
            clock=self.clock,
            store=self._wrap_store(MemoryStore(self.disk)),
            launcher=self._wrapped_launcher,
            results=self._results,
            window=self._window,
        )

    def kill_scheduler(self) -> None:
        """Drop the scheduler and all it has in memory."""
        self.engine, self._untouched = None, False

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
        engine = self._running()
        news = self.launcher.collect()
        replies = engine.turn([*news, *messages]).replies[len(news) :]
        self.launcher.acknowledge()
        for reply in replies:
            if isinstance(reply, RayschedError):
                raise reply
        return list(replies)

    def _running(self) -> Engine:
        if self._untouched:
            self.start_scheduler()
        if self.engine is None:
            raise NotRunning(
                "the scheduler of this world is down.",
                why="it was killed.",
                fix="call world.start_scheduler().",
            )
        return self.engine

    def deploy(self, *jobs: DeclaredJob) -> list[dict[str, Any]]:
        """Deploy jobs, and return what was done, a dict each."""
        return self.ask(Deploy(deployments=[self._deployment(job) for job in jobs]))  # type: ignore[no-any-return]

    def _deployment(self, job: DeclaredJob) -> Deployment:
        if self.in_process:
            return self.in_process.deployment(job)
        return Deployment(spec=job.spec, code_hash="simulated", code=b"")

    def trigger(self, job: DeclaredJob | str, /, **params: Any) -> str:
        """Make a run now, and return its id.

        Raises:
            NotFound: there is no such job.
            InvalidParameter: a parameter that the job does not take, or lacks.
        """
        return self.trigger_for(job, None, **params)

    def trigger_for(self, job: DeclaredJob | str, slot: Instant | None, /, **params: Any) -> str:
        """Make a run now that is about a slot, as a retried run is, and return its id."""
        self._requests += 1
        ids: list[str] = self.ask(
            messages.TriggerRuns(
                job=_name(job),
                params=[params],
                moment=self.clock.now(),
                request=f"request {self._requests}",
                slot=None if slot is None else instant(slot, of="slot"),
            )
        )
        return ids[0]

    def pause(self, *jobs: DeclaredJob | str, note: str = "") -> None:
        """Skip the slots of jobs from now on, with the note as the reason."""
        self.ask(messages.Pause(jobs=[_name(job) for job in jobs], note=note))

    def resume(self, *jobs: DeclaredJob | str) -> None:
        """End that."""
        self.ask(messages.Resume(jobs=[_name(job) for job in jobs]))

    def cancel(self, run_id: str) -> None:
        """Cancel an unfinished run."""
        self.ask(messages.Cancel(run_id=run_id))

    def explain(self, name: DeclaredJob | str) -> str:
        """Return why a job or an unfinished run is where it is."""
        return str(self.ask(messages.Explain(name=_name(name))).reason)

    @property
    def runs(self) -> pd.DataFrame:
        """The runs, finished or not, as `rs.runs()` gives them."""
        unfinished = [
            records.run_row(run, self.disk.versions[run.job, run.version].spec)
            for run in self.disk.runs.values()
        ]
        return frame("runs", [*self.disk.dataset("runs"), *unfinished])

    @property
    def now(self) -> datetime:
        """The present instant of the world, in UTC."""
        return self.clock.now()

    def advance(self, by: Duration) -> None:
        """Let a duration pass, such as `"1d"`."""
        self.run_until(self.clock.now() + duration(by, of="by"))

    def run_until(self, end: Instant) -> None:
        """Let time pass; with no scheduler, only the launcher's attempts go on."""
        last = instant(end, of="end")
        while (moment := self.next_event()) is not None and moment <= last:
            self._turn_at(moment)
        self.clock.move_to(last)

    def next_event(self) -> datetime | None:
        """Return when something happens next, or None: never, or no scheduler is up."""
        if self.engine is None and not self._untouched:
            return None
        wake, event = self._running().next_wake(), self.launcher.next_event()
        return min((moment for moment in (wake, event) if moment is not None), default=None)

    def finish(self, run_id: str) -> None:
        """Let time pass until a run is finished."""
        while run_id in self.disk.runs:
            self._turn_at(self.next_event() or self._nothing_happens(run_id))

    def _nothing_happens(self, run_id: str) -> datetime:
        raise NotRunning(f"run {run_id} never ends.", why=self.explain(run_id))

    def _turn_at(self, moment: datetime) -> None:
        self.clock.move_to(moment)
        self._running().turn(self.launcher.collect())
        self.launcher.acknowledge()

    def __repr__(self) -> str:
        return f"<World at {self.clock.now().isoformat()}: {len(self.disk.jobs)} jobs>"


def _name(job: DeclaredJob | str) -> str:
    return job.name if isinstance(job, DeclaredJob) else job
