"""A notebook as a function: called with parameters, it runs in a kernel of its own.

To the worker it is a job's code like any other, so output, timeout, cancelling and
measuring need nothing of their own. The kernel is a child process, which the guard finds.

    __init__.py    the function
    document.py    the notebook that is run: the declared one and its parameters
    session.py     a kernel, and the cells that run in it, in the worker
    kernel.py      the process that is the kernel
    inside.py      what runs in the kernel before the first cell: rs.current() there
    failure.py     what is told of a cell that failed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raysched.errors import PackagesMissing
from raysched.spec.notebook import ExecutedNotebook


@dataclass(frozen=True, slots=True)
class Program:
    """A notebook's own text, as a function of its parameters."""

    text: str

    def __call__(self, **params: Any) -> ExecutedNotebook:
        """Run the notebook from its first cell to its last, and return it with its outputs.

        Raises:
            PackagesMissing: this node lacks what runs a notebook.
            Failed: a cell raised, or the kernel died.
        """
        try:
            from raysched.runners.notebook.session import run
        except ImportError as error:
            raise PackagesMissing(
                f"this node cannot run notebooks: {error}.",
                why="its Python lacks packages that only notebook jobs need.",
                fix='install "raysched[notebook]" on every node, or declare '
                'runtime_env={"pip": ["nbclient", "nbformat", "ipykernel"]}.',
            ) from error
        return run(self.text, params)
