"""A check of what only shows when a job is deployed: that its function can travel."""

from __future__ import annotations

import pickle
from typing import Any

from raysched.runners import code
from raysched.spec.job import Job


def assert_sendable(*jobs: Job[Any, Any]) -> None:
    """Check that each job's function can be sent to a worker, as a deploy does. Imports Ray.

    Raises:
        NotPicklable: what a function uses cannot be sent; names it.
    """
    for job in jobs:
        sent, _ = code.pin(job.function, name=job.name)
        pickle.loads(sent)
