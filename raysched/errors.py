"""Every error that raysched raises, split by who has to act.

One root, four branches: the user's input, the user's job, the cluster, and
raysched itself. An error carries fields, not prose: what is wrong, why, and
what to do. Command line, notebook and API print the same three lines.
"""

from __future__ import annotations

from typing import Any


class RayschedError(Exception):
    """The root of every error raised by raysched.

    `what` says what is wrong, `why` gives the cause or the evidence, `fix` says
    what to do. Only `what` is required.
    """

    def __init__(self, what: str, *, why: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        for name, text in (("why", self.why), ("fix", self.fix)):
            if text:  # further lines are indented: they may hold another error's why and fix
                lines.append(f"  {name}: " + text.replace("\n", "\n       "))
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception pickles positional arguments only; errors cross process borders here.
        return _rebuild, (type(self), self.what, self.why, self.fix)


def _rebuild(
    kind: type[RayschedError], what: str, why: str | None, fix: str | None
) -> RayschedError:
    return kind(what, why=why, fix=fix)


class InputError(RayschedError):
    """The caller's input is wrong; nothing was changed."""


class DeclarationError(InputError):
    """Raised when a job is declared with an option that cannot be meant."""


class InvalidName(DeclarationError):
    """Raised when a name is not one that paths, URLs, SQL and shells can carry safely."""


class InvalidSchedule(DeclarationError):
    """Raised when a cron expression, interval, zone or instant is malformed or never matches."""


class InvalidUnit(DeclarationError):
    """Raised when a duration, a size or an instant is ambiguous."""


class InvalidResource(DeclarationError):
    """Raised when a CPU, GPU, memory or custom resource is not a finite, non-negative number."""


class InvalidPolicy(DeclarationError):
    """Raised when a policy is not one of its closed set, or its numbers make no sense."""


class InvalidParameter(InputError):
    """Raised when a parameter is not one that the job takes, or has no JSON form."""


class InvalidCluster(InputError):
    """Raised when a cluster file is not one that `ray up` takes, or would leave Ray open to all."""


class NotPicklable(DeclarationError):
    """Raised when a job's function cannot be sent to a worker; names the culprit."""


class NotFound(InputError):
    """Raised when no job or run has the given name or id."""


class Ambiguous(InputError):
    """Raised when an id's prefix fits more than one run."""


class Conflict(InputError):
    """Raised when the request does not fit the present state, such as a retry of a live run."""


class JobError(RayschedError):
    """The job's own outcome, raised to whoever waits for its result."""


class RunFailed(JobError):
    """Raised by `Run.result()` when the run ended in any state but `succeeded`."""


class UnsupportedResult(JobError):
    """Raised in the worker when a job returns what no Parquet file or JSON column can hold."""


class PackagesMissing(RayschedError):
    """Raised where a part of raysched needs packages that are not installed; names the extra."""


class WaitTimeout(RayschedError, TimeoutError):
    """Raised by `Run.wait()` when the run is still going after the caller's timeout."""


class ClusterError(RayschedError):
    """The cluster or the scheduler cannot be reached or does not answer."""


class NotRunning(ClusterError):
    """Raised when no scheduler is running here."""


class StoreError(RayschedError):
    """Raised when the state database or the history cannot be read or written."""


class StaleEpoch(StoreError):
    """Raised when a newer scheduler has taken over this home; the older one must stop."""


class IllegalTransition(RayschedError):
    """Raised when an event does not fit a run's state; the run is left as it was."""


class ContainerError(JobError):
    """Raised in the worker when a container cannot run, or how it ended cannot be known.

    `lost` tells the two apart: nobody knows what became of a lost one.
    """

    lost = False


class EngineUnavailable(ContainerError):
    """Raised when a node's container engine cannot be reached before anything has begun."""


class EngineLost(ContainerError):
    """Raised when the engine went away under a container and did not come back in time."""

    lost = True


class ContainerLost(ContainerError):
    """Raised when a container that was started is gone, or its exit code proves nothing."""

    lost = True


class StoppedFromOutside(ContainerError):
    """Raised when somebody other than raysched ended a container, whatever its exit code."""

    lost = True


class AlreadyWatched(ContainerError):
    """Raised when another process of the node watches the attempt and does not let go."""

    lost = True


class ImageUnavailable(ContainerError):
    """Raised when an image is not on the node and cannot be fetched."""


class BuildFailed(ContainerError):
    """Raised when an image cannot be built from a job's context."""


class OptionRefused(ContainerError):
    """Raised when a container asks what its node's operator or engine does not allow."""


class SecretMissing(ContainerError):
    """Raised when a node has no secret of a name that a container asks for."""
