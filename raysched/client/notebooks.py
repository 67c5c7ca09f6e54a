"""An executed notebook, as nbformat reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysched.errors import PackagesMissing, StoreError

if TYPE_CHECKING:
    from nbformat import NotebookNode


def node(content: bytes, path: str) -> NotebookNode:
    """Return the notebook that a file's bytes are; `path` names the file in errors.

    Raises:
        PackagesMissing: nbformat is not installed.
        StoreError: the file is damaged.
    """
    try:
        import nbformat
    except ImportError as error:
        raise PackagesMissing(
            "the executed notebook cannot be read here.",
            why=str(error),
            fix=f'install "raysched[notebook]", or open {path}, below the home, in Jupyter.',
        ) from error
    try:
        return nbformat.reads(content.decode(), as_version=4)
    except Exception as error:  # nbformat raises whatever a damaged file makes it stumble over
        raise StoreError(
            f"the notebook {path} is damaged.",
            why=f"{type(error).__name__}: {str(error)[:300]}",
            fix="run the job again.",
        ) from error
