"""The process that is a notebook's kernel: this very Python, reached by sockets of this user.

No installed kernel is looked up, so that a cell imports what the worker imports. The
guard finds the process: it is a child of the worker, and bears the attempt's mark.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ipykernel  # noqa: F401 - what the kernel's process runs must be here as well
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from raysched.runners.private import make_private

_LONGEST = 50  # bytes of the path above: a socket's address holds 107
_ARGUMENTS = (
    "--HistoryManager.enabled=False",  # kernels of one user would share a file
    "--IPKernelApp.log_level=ERROR",
    # What libraries and child processes write goes into the log as it is, and a crash's trace.
    "--IPKernelApp.capture_fd_output=False",
)


def kernel(folder: Path) -> AsyncKernelManager:
    """Return a kernel that is not started yet, and has its sockets in this folder."""
    manager = AsyncKernelManager(
        transport="ipc",  # ports that are free now may be taken when the kernel opens them
        connection_file=str(folder / "kernel.json"),
    )
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *_ARGUMENTS],
        display_name="Python",
        language="python",
    )
    return manager


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make this process's folder for a kernel, and remove those of workers that were killed."""
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > _LONGEST:
        parent = Path("/tmp")  # noqa: S108 - what lies there is made this user's alone
    parent /= f"raysched-kernels-{os.getuid()}"
    make_private(parent)
    for folder in parent.iterdir():
        if not Path("/proc", folder.name).exists():
            shutil.rmtree(folder, ignore_errors=True)
    own = parent / str(os.getpid())
    shutil.rmtree(own, ignore_errors=True)  # of a process that had this number before
    own.mkdir(mode=0o700)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
