"""The notebook that a run executes: the declared one, with the run's parameters in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import nbformat

from raysched.runners.current import Current
from raysched.spec.notebook import INJECTED, PARAMETERS


def document(text: str, params: Mapping[str, Any], run: Current) -> nbformat.NotebookNode:
    """Return a declared notebook as one of this run, with nothing executed yet."""
    declared = json.loads(text)
    cells = [_cell(each) for each in declared["cells"]]
    if params:
        at = next(n for n, cell in enumerate(cells) if is_code(cell) and PARAMETERS in tags(cell))
        source = assignments(params)
        cells.insert(at + 1, nbformat.v4.new_code_cell(source, metadata={"tags": [INJECTED]}))
    for number, cell in enumerate(cells, start=1):
        cell.id = f"cell-{number}"
    told = {
        "job": run.job,
        "run_id": run.run_id,
        "attempt": run.attempt,
        "slot": None if run.slot is None else run.slot.isoformat(),
        "params": dict(params),
    }
    metadata = nbformat.from_dict({**declared["metadata"], "raysched": told})
    return nbformat.v4.new_notebook(metadata=metadata, cells=cells)


def assignments(params: Mapping[str, Any]) -> str:
    """Return Python that gives each parameter its value.

    The values are made of JSON's types only, whose `repr` is a literal: text cannot end
    its own quotes. The names are those that the notebook's own code assigns.
    """
    return "\n".join(f"{name} = {value!r}" for name, value in params.items())


def is_code(cell: nbformat.NotebookNode) -> bool:
    """Return whether a cell is executed, unless it is empty."""
    return bool(cell.cell_type == "code")


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return list(cell.metadata.get("tags", ()))


def _cell(declared: Mapping[str, Any]) -> nbformat.NotebookNode:
    cell: nbformat.NotebookNode = nbformat.from_dict(declared)
    if is_code(cell):
        cell.outputs, cell.execution_count = [], None
    return cell
