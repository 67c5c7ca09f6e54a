"""raysched: a compute-job scheduler for data workloads on Ray.

    import raysched as rs

    @rs.job(schedule="0 6 * * *")
    def daily(): ...

    rs.connect().deploy(daily)

Importing this package is light: Ray, pandas and pyarrow are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysched import plot as plot
    from raysched.client.client import Client
    from raysched.client.connect import connect
    from raysched.client.history import attempts, decisions, logs, runs
    from raysched.client.run import Run
    from raysched.runners.current import current
    from raysched.spec.container import Mount
    from raysched.spec.container_job import ContainerJob, container
    from raysched.spec.job import Job, job
    from raysched.spec.notebook_job import NotebookJob, notebook
    from raysched.spec.policies import Catchup, Overlap, Retry
    from raysched.spec.schedules import after_end, at, cron, every

_PLACES = {
    "Client": "raysched.client.client",
    "Run": "raysched.client.run",
    "connect": "raysched.client.connect",
    "attempts": "raysched.client.history",
    "decisions": "raysched.client.history",
    "logs": "raysched.client.history",
    "runs": "raysched.client.history",
    "current": "raysched.runners.current",
    "Mount": "raysched.spec.container",
    "ContainerJob": "raysched.spec.container_job",
    "container": "raysched.spec.container_job",
    "Job": "raysched.spec.job",
    "job": "raysched.spec.job",
    "plot": "raysched.plot",
    "NotebookJob": "raysched.spec.notebook_job",
    "notebook": "raysched.spec.notebook_job",
    "Catchup": "raysched.spec.policies",
    "Overlap": "raysched.spec.policies",
    "Retry": "raysched.spec.policies",
    "after_end": "raysched.spec.schedules",
    "at": "raysched.spec.schedules",
    "cron": "raysched.spec.schedules",
    "every": "raysched.spec.schedules",
}

__version__ = "0.1.0"
__all__ = [
    "Catchup",
    "Client",
    "ContainerJob",
    "Job",
    "Mount",
    "NotebookJob",
    "Overlap",
    "Retry",
    "Run",
    "__version__",
    "after_end",
    "at",
    "attempts",
    "connect",
    "container",
    "cron",
    "current",
    "decisions",
    "every",
    "job",
    "logs",
    "notebook",
    "plot",
    "runs",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'raysched' has no attribute {name!r}")
    module = import_module(_PLACES[name])
    value = module if _PLACES[name] == f"raysched.{name}" else getattr(module, name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """Add `%runs` and `%%rsched` to an IPython shell: `%load_ext raysched`."""
    import_module("raysched.jupyter.magics").load(shell)
