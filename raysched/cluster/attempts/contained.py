"""An attempt in a container, which this process watches and which outlives it.

The lease that Ray granted this task is the container's: its CPUs, its memory, and the
ids of its GPUs become real limits. It is over with the container's last process: unless
there is a result to take in, all that is left to do is to wait for the engine.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysched.cluster.attempts import VERDICTS, Here, Rest, Setting, log_lines, staging_of, where
from raysched.cluster.attempts.native import LOG_LIMIT_BYTES, keep
from raysched.cluster.names import container_rooms
from raysched.core.model import Outcome
from raysched.core.orders import Ended, LogLine, Order
from raysched.core.states import Event
from raysched.runners import container, native
from raysched.runners.container import Ending
from raysched.spec.units import iso, spell_size

_SIGNALS = 128  # an exit code above it is that of a process which this signal ended


class ContainedAttempt:
    """An `Attempt` of a container job."""

    # At once: whoever takes the attempt over must know on which node to look.
    announced_after_s = 0.0
    address = ""

    def __init__(
        self, here: Here, setting: Setting, order: Order, code: bytes, gpu_ids: tuple[str, ...]
    ) -> None:
        assert order.container is not None
        self._here, self._order = here, order
        self._staging = staging_of(setting, order.key)
        self._has_gpus = bool(gpu_ids)
        self._memory: int | None = order.shape.options.get("memory")
        self._watched = container.ContainerAttempt(
            container.Task(
                home=setting.home,
                key=order.key,
                run_id=order.run_id,
                attempt=order.attempt,
                job=order.job,
                slot=None if order.slot is None else iso(order.slot),
                params=order.params,
                env=order.env,
                container=order.container,
                context=code,
                code_hash=order.code_hash,
                num_cpus=order.shape.options["num_cpus"],
                memory_bytes=self._memory,
                gpu_ids=gpu_ids,
                timeout_s=order.timeout_s,
                log_limit_bytes=LOG_LIMIT_BYTES,
            ),
            container_rooms(),
        )

    def farewell(self) -> Ended | None:
        """Return the end of the attempt if an earlier worker has seen it."""
        said = self._watched.farewell()
        ended: Ended | None = None if said is None else pickle.loads(said)
        return ended

    def told(self) -> tuple[tuple[float, float] | None, dict[str, float]]:
        return None, {}

    def tail(self) -> list[LogLine]:
        return log_lines(self._watched.tail())

    def run(self) -> Rest:
        self._watched.run_to_death()
        if self._watched.elsewhere:
            return Rest.NOTHING
        # With GPUs the worker ends with its task.
        return Rest.END if self._has_gpus or self._watched.laden else Rest.END_BESIDE

    def end(self, untold: Sequence[LogLine]) -> Ended:
        if ended := self.farewell():  # another worker's, which was at it when this one came
            self._watched.leave()
            return ended
        outcome = self._outcome()
        lines = [*untold, *self.tail()]
        ended = Ended(key=self._order.key, outcome=outcome, lines=lines)
        # Before anybody is told: if this process dies now, the next one finds the end here.
        self._watched.close(pickle.dumps(ended, protocol=5))
        return ended

    def _outcome(self) -> Outcome:
        try:
            ending = self._watched.ending()
        except OSError as error:  # the node's disk, not the job
            reason = f"node {self._here.node_ip} cannot run it: {error}"
            return Outcome(
                event=Event.FAIL, reason=reason, error_type="OSError", **where(self._here)
            )
        facts: dict[str, Any] = {
            **where(self._here),
            "started_at": ending.started_at,
            "finished_at": ending.finished_at,
            "cpu_time_s": ending.cpu_time_s,
            "peak_memory_bytes": ending.peak_memory_bytes,
            "exit_code": ending.exit_code,
            "oom_killed": ending.oom,
            "image": ending.image,
        }
        event, reason = judged(ending, self._memory)
        if event is Event.SUCCEED:
            try:
                return Outcome(event=event, reason=reason, **facts, **self._kept(ending.results))
            except BaseException as error:  # a hostile file may raise anything
                failure = native.describe(error)
                return Outcome(
                    event=Event.FAIL,
                    reason=f"its result is refused: {failure.reason}",
                    error_type=failure.error_type,
                    error_message=failure.error_message,
                    **facts,
                )
        error_type = ending.error_type or ("OutOfMemory" if ending.oom else None)
        message = ending.fault or None
        return Outcome(
            event=event, reason=reason, error_type=error_type, error_message=message, **facts
        )

    def _kept(self, files: Sequence[Path]) -> dict[str, Any]:
        if not files:
            return keep(self._staging, self._order, None)
        from raysched.runners.container import results  # pyarrow, which many jobs never need

        return keep(self._staging, self._order, results.table(files))


def judged(ending: Ending, memory: int | None) -> tuple[Event, str]:
    """Return how an ending counts, and why.

    Our own reason for ending it comes first, then whether the outcome can be trusted,
    then the exit code.
    """
    if ending.verdict is not None:
        return VERDICTS[ending.verdict], "ended by raysched"
    if ending.fault:
        return (Event.LOSE if ending.lost else Event.FAIL), ending.fault
    limit = f" (memory={spell_size(memory)})" if memory else ""
    if ending.exit_code == 0:
        killed = f"a process in it was killed for lack of memory{limit}" if ending.oom else ""
        return Event.SUCCEED, killed
    if ending.oom:
        return Event.FAIL, f"out of memory{limit}; exit code {ending.exit_code}"
    code = ending.exit_code or 0
    signal = f", signal {code - _SIGNALS}" if _SIGNALS < code < _SIGNALS + 65 else ""
    return Event.FAIL, f"exit code {code}{signal}"
