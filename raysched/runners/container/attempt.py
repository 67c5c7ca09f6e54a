"""Runs one attempt of a container job in the calling process, or takes one over.

Law: before the container starts, the room says that it may have; from then on
nobody starts it a second time. A container is only ever started once, ends by its
own code or by a reason that the room had first, and stays until `close`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raysched.errors import (
    AlreadyWatched,
    ContainerError,
    ContainerLost,
    OptionRefused,
)
from raysched.runners.container import images, node, options, outcome, pruning, reaper
from raysched.runners.container.engine import Engine
from raysched.runners.container.events import Seen, Witness, trusted
from raysched.runners.container.faults import Absent, Away, NameTaken, Quiet, Refused, patiently
from raysched.runners.container.frames import moment
from raysched.runners.container.listener import Listener
from raysched.runners.container.output import Output
from raysched.runners.container.reclaim import reclaim
from raysched.runners.container.room import Room
from raysched.runners.container.task import IMAGES, Ending, Task
from raysched.runners.container.usage import Meter
from raysched.runners.container.watch import Watch, inspect
from raysched.runners.words import Line
from raysched.spec.container import Pull

_LATE_OOM_S = (0.05, 0.1, 0.2)

_log = logging.getLogger(__name__)


class ContainerAttempt:
    """One attempt; `run` blocks in one thread while another may ask for `tail`."""

    def __init__(self, task: Task, rooms: Path) -> None:
        self._task, self._rooms = task, rooms
        self._room = Room(rooms, task.name)
        self._engine: Engine | None = None
        self._output: Output | None = None
        self._meter: Meter | None = None
        self._listener: Listener | None = None
        self._launched: dict[str, Any] | None = None
        self._watch: Watch | None = None
        self._error: Exception | None = None
        self._fresh: str | None = None  # the container's id, if this process made it
        self._started_ns: int | None = None
        self._foreign = False  # whether the container of our name is somebody else's

    def farewell(self) -> bytes | None:
        """Return what an earlier watcher left with `close`: the attempt is over."""
        return self._room.farewell()

    def tail(self) -> list[Line]:
        """Return the lines since the last call; whoever took over returns all from the first."""
        return self._output.tail() if self._output else []

    def run(self) -> Ending:
        """Run the container to its end, or the one that an earlier watcher began."""
        self.run_to_death()
        return self.ending()

    def run_to_death(self) -> None:
        """Run the container until it is dead; whatever keeps it from that, `ending` tells."""
        try:
            self._room.enter()
            reaper.awaken(self._rooms)
            self._check_open()
            values = {name: node.secret(name) for name in self._task.container.secrets}
            self._output = Output(self._room.log, self._task.log_limit_bytes, values.values())
            self._run(values)
        except Exception as error:
            self._error = error

    @property
    def elsewhere(self) -> bool:
        """Whether it did not run here because another process of this node is at it."""
        return isinstance(self._error, AlreadyWatched)

    @property
    def laden(self) -> bool:
        """Whether there is more to take in than how it ended: a result, or a fault."""
        try:
            return self._error is not None or any(os.scandir(self._room.out))
        except OSError:  # of a container's own user, who has shut the folder
            return True

    def ending(self) -> Ending:
        """Return what came of it, once the engine has dealt with the container's death.

        Raises:
            OSError: the node's disk kept it from running.
        """
        try:
            if self._error is not None:
                self._fall_silent()
                raise self._error
            assert self._watch
            try:
                end = self._watch.end()
            finally:
                self._fall_silent()
            return self._outcome(*end)
        except images.Interrupted:
            return self._ending(verdict=self._room.verdict())
        except ContainerError as error:
            return self._fault(error)
        finally:
            if self._output is not None:
                self._output.finish()
                self._output.hand_over()

    def close(self, farewell: bytes) -> None:
        """Leave a farewell that outlives this process, then remove all but it.

        A disk that takes no farewell keeps nobody from telling the end: what stays is the reaper's.
        """
        try:
            self._close(farewell)
        except OSError as error:
            _log.warning("%s: it is left to the reaper: %s", self._task.name, error)
        finally:
            self._room.leave()

    def leave(self) -> None:
        """Let go of it without a farewell."""
        self._room.leave()

    def _close(self, farewell: bytes) -> None:
        if not self._room.entered:
            try:
                self._room.enter(patience_s=0)
            except AlreadyWatched:
                return  # another process is at it: the end is for that one to tell
        self._room.bid(farewell)
        with suppress(ContainerError, Away, Quiet, Refused):  # what stays is the reaper's
            if not self._foreign:
                self._here().remove(self._task.name)
            self._room.clear()
        if self._room.launched() is None:
            self._room.clear()  # nothing in it was ever used, whether or not there is an engine

    # One attempt

    def _here(self) -> Engine:
        """Return the engine that it began with; another job may have the environment by now."""
        self._engine = self._engine or Engine.here()
        return self._engine

    def _check_open(self) -> None:
        reason = self._room.reaped()
        if reason is None and self._room.farewell() is not None:
            reason = "it has ended, and said farewell"
        if reason is not None:
            raise ContainerLost("the attempt is over.", why=reason, fix="a retry is a new attempt.")

    def _run(self, secrets: Mapping[str, bytes]) -> None:
        engine = self._here()
        launched = self._room.launched()
        if launched is None:
            launched = self._create(engine, secrets)
        self._launched = launched
        container = self._start(engine)
        listener, meter = Listener(engine, container, self._out), Meter(container)
        listener.start()
        self._listener = listener
        meter.start()
        self._meter = meter
        self._watch = Watch(
            engine,
            container,
            self._room,
            self._task,
            since=launched["since"],
            started_ns=self._started_ns,
            on_death=listener.rest,
        )
        self._watch.until_death()

    def _fall_silent(self) -> None:
        """Take in the last of the container's log, and look at it no more."""
        if self._meter is not None:
            self._meter.stop()
        if self._listener is not None:
            self._listener.finish()

    @property
    def _out(self) -> Output:
        assert self._output
        return self._output

    def _ended(self) -> bool:
        return self._room.verdict() is not None

    def _check_wanted(self) -> None:
        if self._ended():
            raise images.Interrupted

    def _create(self, engine: Engine, secrets: Mapping[str, bytes]) -> dict[str, Any]:
        """Have a container that is ready to start, and the room say that it may be running."""
        task, room = self._task, self._room
        image = images.reference(task)
        if task.container.build is not None:
            pruning.note_use(self._rooms / IMAGES, task.home, task.job, image)
        mounts = node.allowed_mounts(task.container.mounts, engine.socket_path)
        host = options.host_options(
            task,
            cpus=engine.cpus,
            out=room.furnish(),
            secrets=room.hide(dict(secrets)) if secrets else None,
            mounts=mounts,
        )
        own = options.create_options(task, image, self._rooms)
        self._check_wanted()
        if task.container.pull is Pull.ALWAYS and task.container.build is None:
            self._fetch(engine)
        evidence = _evidence(engine)
        try:
            try:
                self._fresh = patiently(lambda: engine.create(task.name, own, host))
            except Absent:
                self._fetch(engine)
                evidence = _evidence(engine)
                self._fresh = patiently(lambda: engine.create(task.name, own, host))
        except NameTaken:
            evidence = self._found(engine, evidence)
        except (Refused, Absent, Quiet) as error:
            raise outcome.refusal(error) from error
        self._check_wanted()
        return room.launch(evidence)

    def _fetch(self, engine: Engine) -> None:
        images.fetch(engine, self._task, self._rooms / IMAGES, self._out, self._ended)

    def _found(self, engine: Engine, evidence: dict[str, Any]) -> dict[str, Any]:
        """Return what can be said of a container of our name that an earlier watcher made."""
        found = patiently(lambda: engine.inspect(self._task.name))
        if found["Config"]["Labels"].get("raysched.key") != self._task.key:
            self._foreign = True
            raise OptionRefused(
                f"the name {self._task.name} is taken on this node.",
                why="a container that is not of raysched's bears it.",
                fix="remove that container.",
            )
        if moment(found["State"]["StartedAt"]) is None:
            return evidence  # its maker died before it was started
        since = (moment(found["Created"]) or 0) / 1e9
        unknown = Witness(engine=None, boot="", live_restore=False)
        return {"since": f"{since:.9f}", "witness": asdict(unknown)}

    def _start(self, engine: Engine) -> str:
        """Start the container unless it was started before, and return its id.

        An answer that was lost says nothing: only a container that has never run is started.
        """
        container = self._fresh
        try:
            while True:
                if container is None:
                    found = patiently(lambda: engine.inspect(self._task.name))
                    container = str(found["Id"])
                    if moment(found["State"]["StartedAt"]) is not None:
                        return container
                self._check_wanted()
                try:
                    engine.start(container)
                    self._started_ns = time.time_ns()
                    return container
                except (Away, Quiet):
                    container = None
        except Absent as error:
            if "No such container" not in str(error):  # but its network, or what else it needs
                raise outcome.refusal(error) from error
            raise ContainerLost(
                "the container is gone.",
                why=f"it was started, and now {str(error)[:300]}",
                fix="did somebody remove it?",
            ) from error
        except Refused as error:
            raise outcome.refusal(error) from error

    # The outcome

    def _outcome(self, seen: Seen, complete: bool, found: dict[str, Any]) -> Ending:
        engine, verdict = self._here(), self._room.verdict()
        for pause in (
            _LATE_OOM_S if outcome.lacks_memory(self._task, seen, found["State"], verdict) else ()
        ):
            time.sleep(pause)  # the news of an OOM may come after that of the death
            found = inspect(engine, found["Id"])
            if found["State"]["OOMKilled"]:
                break
        state = found["State"]
        reclaim(engine, found["Id"], self._room)
        ending = self._ending(
            exit_code=state["ExitCode"],
            oom=bool(state["OOMKilled"]) or seen.oom,
            verdict=verdict,
            started_at=outcome.instant(moment(state["StartedAt"])),
            image=self._image(engine, found["Image"]),
            results=outcome.result_files(self._room.out, self._out.say),
        )
        finished = outcome.instant(moment(state["FinishedAt"]))
        finished = finished or ending.finished_at
        # The engine notes the start of a short container after its end.
        ending = replace(ending, finished_at=max(finished, ending.started_at or finished))
        if verdict is not None:
            return ending
        assert self._launched
        then, now = Witness(**self._launched["witness"]), _witness(engine)
        sure = trusted(complete=complete, launched=then, now=now)
        error = outcome.doubt(state["ExitCode"], seen, trusted=sure)
        return ending if error is None else replace(ending, **outcome.blame(error))

    def _image(self, engine: Engine, image_id: str) -> str:
        """Return the image that ran, and the images that it was built upon, by their digests."""
        ran = engine.digest(image_id, images.reference(self._task))
        upon = images.bases(self._task, self._rooms / IMAGES)
        return " on ".join([ran, *upon])

    def _fault(self, error: ContainerError) -> Ending:
        return self._ending(
            verdict=None if error.lost else self._room.verdict(), **outcome.blame(error)
        )

    def _ending(self, **facts: Any) -> Ending:
        meter = self._meter
        return Ending(
            finished_at=datetime.now(UTC),
            cpu_time_s=meter.cpu_time_s if meter else None,
            peak_memory_bytes=meter.peak_memory_bytes if meter else None,
            **facts,
        )


def _evidence(engine: Engine) -> dict[str, Any]:
    return {"since": f"{time.time():.9f}", "witness": asdict(_witness(engine))}


def _witness(engine: Engine) -> Witness:
    def ask() -> Witness:
        try:
            return engine.witness()
        except (Refused, Quiet) as error:  # an engine that starts or stops
            raise Away(str(error)) from error

    return patiently(ask)
