"""The scheduler actor: the engine's driver, its store and its history, behind Ray calls.

Nothing is decided here. The actor is detached and restarted for ever; whatever it
knows after a restart it has read from its home.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import ray

from raysched.cluster import archivist, installed, mark, nodes, probe
from raysched.cluster.ends import Ends
from raysched.cluster.mail import open_report, unbag
from raysched.cluster.names import SWITCH_S
from raysched.cluster.remote_launcher import RemoteLauncher
from raysched.core.backfill import SlotRun
from raysched.core.capacity import Cluster, Demand, Room, find_misfits
from raysched.core.states import State
from raysched.engine.driver import Driver
from raysched.engine.engine import Engine
from raysched.engine.lasting import lasting
from raysched.engine.messages import Backfill, Explain, ListUnfinished, Message, Reports
from raysched.errors import NotFound, RayschedError, StoreError
from raysched.store import beacon, leftovers, query, results, whereabouts
from raysched.store.history import History
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore

BEACON = "scheduler"
"""The beacon in a home that bears the word of its scheduler."""

_log = logging.getLogger(__name__)


class SystemClock:
    """The wall clock of this machine."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return datetime.now(UTC)


class Scheduler:
    """One home's scheduler. Ray restarts it with the same literal arguments after a crash."""

    def __init__(self, home: str, state_url: str | None, seal_every_s: float) -> None:
        """Open the home and begin to decide.

        Raises:
            Conflict: the home's state is in a database, and none is named.
            StoreError: the home or its state cannot be opened.
        """
        sys.setswitchinterval(SWITCH_S)
        whereabouts.check_named(home, state_url)  # only this machine is sure to see the home
        self._home = home
        self._state_url = state_url
        self._code = installed.code_hash()  # what was loaded now, whatever is installed later
        self._clock = SystemClock()
        self._history = History(home)
        self._store = SqlStore(state_url or f"{home}/state.db", self._clock)
        self._sealer = Sealer(self._store, self._history, self._clock)
        self._sealing = threading.Lock()
        self._ends = Ends()
        self._archivist: Any = None
        self._word = uuid.uuid4().hex
        self._mark_home()
        self._driver = Driver(
            self._make_engine,
            self._clock,
            on_finished=self._ends.tell,
            on_stale=_end_for_good,
        )
        self._launcher = RemoteLauncher(home, tell=self._driver.submit, code=self._store.code)
        self._driver.start()
        mark.leave(mark.Mark(home=home, state_url=state_url))
        threading.Thread(
            target=self._seal_for_ever, args=(seal_every_s,), name="raysched-sealer", daemon=True
        ).start()

    async def tell(self, message: Message) -> Any:
        """Hand a message to the engine; the reply, or the error as a value, once it is durable."""
        try:
            return await asyncio.wrap_future(self._driver.submit(message))
        except RayschedError as error:
            return error

    async def report(self, launcher: str, piece: bytes) -> Any:
        """Take in a launcher's news; the reply tells it that they are durable."""
        reports = [open_report(letter) for letter in unbag(piece)]
        told = [report for report in reports if report is not None]
        return await self.tell(Reports(launcher=launcher, reports=told))

    async def code(self, code_hash: str) -> bytes | NotFound:
        """Return a job's pickled function, for a launcher; the error, if there is none."""
        try:
            return await asyncio.to_thread(self._store.code, code_hash)
        except NotFound as error:
            return error

    async def where(self) -> dict[str, Any]:
        """Return where this scheduler runs, what it keeps, and which code it has loaded."""
        return {
            "home": self._home,
            "state_url": self._state_url,
            "node_id": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "versions": probe.versions(),
            "now": time.time(),
            "code": self._code,
        }

    async def word(self) -> str:
        """Return the word that this scheduler's home holds, and no folder like it."""
        return self._word

    async def archivist(self) -> Any:
        """Return the actor that reads this home for those who do not see it."""
        if self._archivist is None:
            self._archivist = archivist.start(self._home, self._state_url)
        return self._archivist

    async def wait(self, run_id: str, timeout_s: float | None) -> Any:
        """Return the row of a run once it is finished.

        None if it was finished a good while before this call, or is not within `timeout_s`.
        """

        async def alive() -> bool:
            found = await self.tell(ListUnfinished(prefix=run_id, most=2))
            if isinstance(found, RayschedError):
                raise found
            return run_id in [row["run_id"] for row in found]

        try:
            return await self._ends.wait(run_id, alive, timeout_s)
        except RayschedError as error:
            return error

    async def explain(self, name: str) -> Any:
        """Return the `Explanation` of a job or an unfinished run, with what the nodes offer."""
        return await self.tell(Explain(name=name, cluster=await self._cluster()))

    async def backfill(self, request: Backfill) -> Any:
        """Start a backfill, knowing which runs its slots have; the reply is that of `tell`."""
        asked = await self.tell(replace(request, dry_run=True))
        if isinstance(asked, RayschedError):
            return asked
        try:
            known = await asyncio.to_thread(self._slot_runs, request)
        except RayschedError as error:
            return error
        return await self.tell(replace(request, known=known))

    async def misfits(self, demands: Sequence[Demand]) -> dict[str, Room]:
        """Return, by the job, those of the demands that no node could meet, and why."""
        cluster = await self._cluster()
        return {} if cluster is None else find_misfits(demands, cluster)

    async def seal(self) -> list[str]:
        """Seal every finished row into Parquet now, and return the files' paths below home."""
        return await asyncio.to_thread(self._seal, everything=True)

    async def _cluster(self) -> Cluster | None:
        try:
            return await asyncio.to_thread(nodes.look)
        except Exception as error:  # what else keeps a job from running is told all the same
            _log.warning("the nodes cannot be asked for: %s", error)
            return None

    def _mark_home(self) -> None:
        """Let clients know the home and its state; without the mark they have it read for them."""
        try:
            if self._state_url is not None:
                whereabouts.note(self._home, self._state_url)
            beacon.light(self._home, BEACON, self._word)
        except (StoreError, OSError) as error:
            _log.warning("%s", error)

    def _slot_runs(self, request: Backfill) -> list[SlotRun]:
        found = query.frame(
            self._home,
            "runs",
            since=request.start,  # no run is made before its slot
            job=request.job,
            slots=(request.start, request.end),
            state_url=self._state_url,
        )
        columns = (found[name] for name in ("run_id", "slot", "status", "created_at"))
        return [
            SlotRun(
                run_id=run_id,
                slot=slot.to_pydatetime(),
                status=State(status),
                created_at=created_at.to_pydatetime(),
            )
            for run_id, slot, status, created_at in zip(*columns, strict=True)
        ]

    def _make_engine(self) -> Engine:
        with lasting():
            return Engine(
                clock=self._clock,
                store=self._store,
                launcher=self._launcher,
                results=_Published(self._home),
            )

    def _seal_for_ever(self, every_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            try:
                self._seal(everything=False)
            except Exception:  # the rows stay in the database; the next sealing tries again
                _log.exception("sealing failed")

    def _seal(self, *, everything: bool) -> list[str]:
        with self._sealing:
            try:
                leftovers.sweep(self._home, self._store.unfinished)
            except RayschedError as error:  # they harm nobody; the next sealing tries again
                _log.warning("staged results are left over: %s", error)
            return self._sealer.seal(everything=everything)


def _end_for_good() -> None:
    """End this actor; restarted, it would take the home back from the newer scheduler."""
    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


class _Published:
    """The `Results` port over the home's files."""

    def __init__(self, home: str) -> None:
        self._home = home

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        final = results.published_path(job, run_id, hidden)
        results.publish(self._home, hidden, final)
        return final

    def publish_partial(self, run_id: str, job: str, attempt: int, hidden: str) -> str:
        final = results.partial_path(job, run_id, attempt)
        results.publish(self._home, hidden, final)
        return final

    def discard(self, hidden: str) -> None:
        results.discard(self._home, hidden)
