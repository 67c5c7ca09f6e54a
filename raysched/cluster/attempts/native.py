"""An attempt of a function, in this process; the guard watches its output and its time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raysched.cluster.attempts import Here, Rest, Setting, log_lines, staging_of, where
from raysched.core.model import Outcome
from raysched.core.orders import Ended, LogLine, Order
from raysched.core.states import Event
from raysched.runners import code as code_
from raysched.runners import native
from raysched.runners.current import Current, in_zone
from raysched.runners.watch import Guard

if TYPE_CHECKING:
    from raysched.spec.notebook import ExecutedNotebook
    from raysched.store.home import Staging

LOG_LIMIT_BYTES = 8 * 1024 * 1024


class NativeAttempt:
    """An `Attempt` of a native job."""

    announced_after_s = 0.1

    def __init__(
        self, guard: Guard, here: Here, setting: Setting, order: Order, code: bytes
    ) -> None:
        self._guard, self._here = guard, here
        self._staging = staging_of(setting, order.key)
        self._order, self._code = order, code
        self._current = current_of(order)
        self.address = guard.address
        self.told = self._current.told
        guard.watch(order.key, timeout_s=order.timeout_s, log_limit_bytes=LOG_LIMIT_BYTES)

    def tail(self) -> list[LogLine]:
        return log_lines(self._guard.tail())

    def run(self) -> Rest:
        def load() -> Callable[..., Any]:
            return code_.load(self._order.code_hash, self._code)

        self._outcome, _ = perform(load, self._order, self._current, self._here, self._staging)
        return Rest.END

    def end(self, untold: Sequence[LogLine]) -> Ended:
        words, outcome = self._guard.release(), self._outcome
        peak = max(outcome.peak_memory_bytes or 0, words.peak_children_bytes)
        return Ended(
            key=self._order.key,
            outcome=replace(outcome, peak_memory_bytes=peak),
            lines=[*untold, *log_lines(words.lines)],
        )


def current_of(order: Order) -> Current:
    """Return what an attempt's function is to know of its run."""
    return Current(
        run_id=order.run_id,
        attempt=order.attempt,
        job=order.job,
        slot=in_zone(order.slot, order.timezone),
    )


def perform(
    load: Callable[[], Callable[..., Any]],
    order: Order,
    current: Current,
    here: Here,
    staging: Callable[[], Staging],
) -> tuple[Outcome, BaseException | None]:
    """Run an attempt's function in this process, and return its outcome and what it raised."""
    execution = native.execute(load, order.params, order.env, current)
    common: dict[str, Any] = {
        **where(here),
        "started_at": execution.started_at,
        "finished_at": execution.finished_at,
        "cpu_time_s": execution.cpu_time_s,
        "peak_memory_bytes": execution.peak_memory_bytes,
        "metrics": current.told()[1],
    }
    failure = execution.failure
    if failure is None:
        try:
            kept = keep(staging, order, execution.value)
            return Outcome(event=Event.SUCCEED, **common, **kept), None
        except BaseException as error:  # a hostile result may raise anything
            failure = native.describe(error)
    outcome = Outcome(
        event=Event.FAIL,
        **common,
        reason=failure.reason,
        error_type=failure.error_type,
        error_message=failure.error_message,
        traceback=failure.traceback,
        exit_code=failure.exit_code,
        partial_path=leave(staging, order, failure.notebook),
    )
    return outcome, failure.error


def keep(staging: Callable[[], Staging], order: Order, value: object) -> dict[str, Any]:
    """Return the result columns of a value, with its file, if it needs one, durable but hidden."""
    if value is None:
        return {"result_kind": "none"}
    from raysched.store import results, returned  # pyarrow, which most no-op jobs never need

    result = returned.classify(value)
    if result.json is not None:
        return {"result_kind": result.kind, "result_json": result.json}
    written = results.write_result(staging(), order.job, order.run_id, order.attempt, result)
    return {
        "result_kind": result.kind,
        "result_rows": written.rows,
        "result_path": written.hidden_path,
    }


def leave(
    staging: Callable[[], Staging], order: Order, notebook: ExecutedNotebook | None
) -> str | None:
    """Return where a failure's notebook is durable but hidden; if it cannot be, the log says so."""
    if notebook is None:
        return None
    try:
        path: str = keep(staging, order, notebook)["result_path"]
    except Exception as error:  # why the attempt failed is worth more than its notebook
        print(f"the notebook as far as it came is not kept: {error}", file=sys.stderr, flush=True)
        return None
    return path
