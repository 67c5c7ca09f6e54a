"""A client's hold on the scheduler actor: finds it, starts it, asks it, and asks again.

While the actor is being restarted its calls fail; every message may be told twice,
so a call is repeated until it is answered or the patience is over. An answer may take long, as
a large deploy's does; but whoever is asked must show signs of life meanwhile.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError

from raysched.cluster.names import NAMESPACE, SCHEDULER, detached
from raysched.cluster.patience import hurried, hurry
from raysched.cluster.scheduler import BEACON, Scheduler
from raysched.engine.messages import Backfill, Message, Status, TriggerRuns
from raysched.errors import ClusterError, Conflict, NotRunning, RayschedError

if TYPE_CHECKING:
    from raysched.store.archive import Archive

PATIENCE_S = 30.0
"""How long a scheduler may be away, or give no sign of life, before a question is given up."""
SEAL_EVERY_S = 60.0
_START_S = 300.0  # until it is known to be up: as long as a process and a million jobs take
_AGAIN_S = 0.1
_QUIET = 1 / 6  # of the patience: an answer within it needs no sign of life besides


def _again(argument: Any) -> Any:
    """Return an argument that says, if it can, that it was sent before."""
    return (
        replace(argument, again=True) if isinstance(argument, TriggerRuns | Backfill) else argument
    )


class SchedulerHandle:
    """Asks the scheduler of the Ray cluster that this process is connected to."""

    def __init__(self, actor: Any, *, keeper: Any = None, patience_s: float = PATIENCE_S) -> None:
        """Ask `actor`; it lives as long as its `keeper` does, which is itself if left out."""
        self._actor = actor
        self._keeper = actor if keeper is None else keeper
        self._patience_s = patience_s

    @classmethod
    def find(cls) -> SchedulerHandle:
        """Return the running scheduler.

        Raises:
            NotRunning: there is none on this cluster.
        """
        try:
            return cls(ray.get_actor(SCHEDULER, namespace=NAMESPACE))
        except ValueError:
            raise NotRunning(
                "no scheduler is running on this Ray cluster.",
                why=f"there is no actor {SCHEDULER!r} in the namespace {NAMESPACE!r}.",
                fix="run `raysched up`, or call rs.connect().",
            ) from None

    @classmethod
    def start(
        cls, home: str, *, state_url: str | None = None, seal_every_s: float = SEAL_EVERY_S
    ) -> SchedulerHandle:
        """Start the scheduler unless there is one, and wait until it answers.

        Raises:
            Conflict: the home's state is in a database, and none is named.
            ClusterError: it does not come up.
        """
        options = {**detached(SCHEDULER), "max_concurrency": 10_000}
        actor = ray.remote(Scheduler).options(**options).remote(home, state_url, seal_every_s)
        handle = cls(actor)
        with hurry(_START_S):  # it cannot show signs of life before
            try:
                handle.ask(Status())
            except ClusterError as error:
                refusal = _refusal(error.__context__)
                if refusal is None:
                    raise
                raise refusal from None
        return handle

    def ask(self, message: Message) -> Any:
        """Return the scheduler's reply to a message.

        Raises:
            RayschedError: the reply, if it is an error.
            ClusterError: no reply came.
        """
        return self.call("tell", message)

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the actor answers; see `ask`.

        Raises:
            RayschedError: the answer, if it is an error.
            ClusterError: no answer came.
        """
        limit = hurried()
        until = time.monotonic() + (self._patience_s if limit is None else limit)
        while True:
            try:
                answer = self._answer(method, arguments, limit)
                break
            except ray.exceptions.ActorUnavailableError as error:
                self._give_up(error, until)
                arguments = tuple(_again(argument) for argument in arguments)
            except ActorDiedError as error:
                raise self._gone(error) from None
            except ray.exceptions.RayTaskError as error:
                raise _broken(error) from error
        if isinstance(answer, RayschedError):
            raise answer
        return answer

    def _answer(self, method: str, arguments: tuple[Any, ...], limit: float | None) -> Any:
        if not ray.is_initialized():  # Ray would start a cluster only to ask it
            raise ClusterError(
                "this process is connected to no Ray cluster any more.",
                why="ray.shutdown() was called.",
                fix="call rs.connect() again.",
            )
        # Of a future, since ray.get notices an interruption only within a second.
        try:
            future = getattr(self._actor, method).remote(*arguments).future()
        except (AttributeError, TypeError) as error:  # it has no such question, or another
            raise _broken(error) from error
        if limit is None:
            self._await(future)
        elif not wait([future], limit).done:
            raise self._gone(TimeoutError(f"no answer within {limit:g}s"))
        return future.result()

    def _await(self, answer: Future[Any]) -> None:
        """Wait for an answer for as long as its giver's process takes calls.

        Raises:
            ClusterError: it does not, as one that is stopped or hung.
        """
        quiet = _QUIET * self._patience_s
        while not wait([answer], quiet).done:
            sign = self._keeper.word.remote().future()
            if not wait([sign, answer], self._patience_s - quiet, FIRST_COMPLETED).done:
                raise ClusterError(
                    "the scheduler does not answer.",
                    why=f"its process has given no sign of life for {self._patience_s:g}s; what "
                    "it was asked to do may still be done.",
                    fix="replace it with `raysched up --renew`; the runs under way go on.",
                )

    def archive(self) -> Archive:
        """Return the scheduler's home as an archive: its files, where they are seen from here.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        from raysched.store import beacon
        from raysched.store.archive import FileArchive
        from raysched.store.distant import DistantArchive

        where, word = self.call("where"), self.call("word")
        if beacon.seen(where["home"], BEACON, word):
            return FileArchive(where["home"], where["state_url"])
        return DistantArchive(ArchivistHandle(self).call)

    def stop(self) -> None:
        """End the scheduler for good; running work goes on, and a later one adopts it.

        Returns when its name is free, so that another one can take it.

        Raises:
            ClusterError: it does not go.
        """
        ray.kill(self._actor, no_restart=True)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                ray.get_actor(SCHEDULER, namespace=NAMESPACE)
            except ValueError:
                return
            time.sleep(_AGAIN_S)
        raise ClusterError("the scheduler does not end.", fix="see `raysched status`.")

    def _give_up(self, error: Exception, until: float) -> None:
        if time.monotonic() > until:
            raise self._gone(error) from None
        time.sleep(_AGAIN_S)

    @staticmethod
    def _gone(error: Exception) -> ClusterError:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ClusterError(
            "the scheduler does not answer.",
            why=" ".join(lines)[:600],
            fix="start it again with `raysched up`; if it hangs, replace it with "
            "`raysched up --renew`: the runs under way go on.",
        )


class ArchivistHandle:
    """Asks the archivist of a scheduler, whichever that is at the time."""

    def __init__(self, scheduler: SchedulerHandle) -> None:
        self._scheduler = scheduler
        self._found: SchedulerHandle | None = None

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the archivist answers. Raises: RayschedError."""
        if self._found is not None:
            try:
                return self._found.call(method, *arguments)
            except ClusterError:  # it has ended with the scheduler that had made it
                self._found = None
        actor = self._scheduler.call("archivist")
        self._found = SchedulerHandle(actor, keeper=self._scheduler._actor)
        return self._found.call(method, *arguments)


def _refusal(error: BaseException | None) -> Conflict | None:
    """Return the conflict for which an actor refused to be made, if that is why it died."""
    # Ray says why in the first argument alone.
    task_error = error.args[0] if isinstance(error, ActorDiedError) and error.args else None
    cause = getattr(task_error, "cause", None)
    return cause if isinstance(cause, Conflict) else None


def _broken(error: Exception) -> ClusterError:
    """Return what to tell of a question that was not understood: mostly, versions differ."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ClusterError(
        "the scheduler could not answer.",
        why=lines[-1][:600] if lines else type(error).__name__,
        fix="see `raysched doctor`: its version of raysched may be another than yours.",
    )
