"""Runs a native job: calls the user's function in this process, and says how it went."""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from raysched.errors import RayschedError
from raysched.runners.current import Current, set_current
from raysched.spec.units import shown

if TYPE_CHECKING:
    from raysched.spec.notebook import ExecutedNotebook

LONGEST_REASON = 300
LONGEST_MESSAGE = 4_000
LONGEST_TRACEBACK = 64_000

# The dictionary behind os.environ: to copy and compare it through the mapping takes as
# long as all the rest of a no-op run.
_environ: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a function did not return; `notebook` is what it leaves, as far as it came."""

    reason: str
    error_type: str
    error_message: str
    traceback: str
    error: BaseException
    exit_code: int | None = None
    notebook: ExecutedNotebook | None = None


class Failed(Exception):
    """Raised by code of our own that is called as a function, and says itself why it failed."""

    def __init__(self, reason: str, **told: Any) -> None:
        super().__init__(reason)
        self.failure = Failure(reason=reason, error=self, **told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What came of calling a function: a value or a failure, and what it took."""

    value: Any
    failure: Failure | None
    started_at: datetime
    finished_at: datetime
    cpu_time_s: float
    peak_memory_bytes: int


def execute(
    load: Callable[[], Callable[..., Any]],
    params: Mapping[str, Any],
    env: Mapping[str, str],
    run: Current,
) -> Execution:
    """Load a function, call it, and return what came of it; nothing that it raises escapes."""
    started, before = datetime.now(UTC), _Usage.now()
    _reset_peak()
    value, failure = None, None
    with _surroundings(env):
        set_current(run)
        try:
            value = load()(**params)
        except Failed as failed:
            failure = failed.failure
        except BaseException as error:  # a run's SystemExit is the run's, not the worker's
            failure = describe(error)
        finally:
            set_current(None)
    after = _Usage.now()
    children_peak = after.children_peak if after.children_s > before.children_s else 0
    return Execution(
        value=value,
        failure=failure,
        started_at=started,
        finished_at=datetime.now(UTC),
        cpu_time_s=after.cpu_s - before.cpu_s,
        peak_memory_bytes=max(_peak(), children_peak),
    )


def describe(error: BaseException) -> Failure:
    """Return an exception as a failure; hostile `__str__` and huge texts are survived."""
    kind = shown(type(error).__name__).strip("'")
    message = _text(error)[:LONGEST_MESSAGE]
    try:
        trace = "".join(traceback.format_exception(error)[-200:])
    except BaseException:  # an exception may define anything, also a __str__ that exits
        trace = f"{kind}: {message}"
    exit_code = None
    # An error of ours has what to do in its further lines; one of a library may have anything.
    told = message if isinstance(error, RayschedError) else next(iter(message.splitlines()), "")
    reason = f"{kind}: {told[:LONGEST_REASON]}" if message.strip() else kind
    if isinstance(error, SystemExit):
        exit_code = error.code if type(error.code) is int and abs(error.code) < 2**31 else None
        reason = f"the job called sys.exit({shown(error.code)}); only a return is a success"
    return Failure(
        reason=reason,
        error_type=kind,
        error_message=message,
        traceback=clean(trace)[-LONGEST_TRACEBACK:],
        error=error,
        exit_code=exit_code,
    )


def _text(error: BaseException) -> str:
    try:
        return clean(str(error))
    except BaseException:
        return ""


def clean(text: str) -> str:
    """Return text as every reader copes with it: no half surrogate pair, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


@contextmanager
def _surroundings(env: Mapping[str, str]) -> Iterator[None]:
    """Give a run its environment, and the next run in this process the one before."""
    environ, folder = _environ.copy(), os.open(".", os.O_PATH | os.O_DIRECTORY)
    os.environ.update(env)
    try:
        yield
    finally:
        if _environ != environ:
            for name in set(_environ) - set(environ):
                del os.environb[name]
            os.environb.update(environ)
        os.fchdir(folder)  # by descriptor: the folder may have been removed or renamed
        os.close(folder)


@dataclass(frozen=True, slots=True)
class _Usage:
    cpu_s: float
    children_s: float
    children_peak: int

    @classmethod
    def now(cls) -> _Usage:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        children_s = children.ru_utime + children.ru_stime
        return cls(time.process_time() + children_s, children_s, children.ru_maxrss * 1024)


def _reset_peak() -> None:
    """Start the kernel's high-water mark of this process's memory anew (see proc(5))."""
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:
            file.write(b"5")
    except OSError:
        pass  # without it the peak is that of the process so far


def _peak() -> int:
    # The same high-water mark as VmHWM in /proc/self/status, at a tenth of the price.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
