"""Why a job or a run is where it is: one small value, decided from what is known of it.

Pure. The engine gathers the views and hands them in; client and command line show
what comes out.
"""

from raysched.core.explain.explanation import Explanation
from raysched.core.explain.jobs import explain_deleted, explain_job, with_last_slot
from raysched.core.explain.runs import (
    RunView,
    explain_finished,
    explain_run,
    explain_unattended,
    retry_reason,
    to_open,
)

__all__ = [
    "Explanation",
    "RunView",
    "explain_deleted",
    "explain_finished",
    "explain_job",
    "explain_run",
    "explain_unattended",
    "retry_reason",
    "to_open",
    "with_last_slot",
]
