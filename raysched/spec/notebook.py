"""What of an .ipynb file is a job's code, and which parameters it takes.

Law: outputs, execution counts, ids and whatever editors note beside the cells are left
out here, so that a notebook which was only opened or run is the same version of its job.
Nothing in a file is trusted to be what the format says.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from raysched.errors import DeclarationError
from raysched.spec.definition import LONGEST_DESCRIPTION
from raysched.spec.parameters import Signature, encodable
from raysched.spec.units import shown, shown_path

LARGEST = 64 * 1024 * 1024
"""Bytes that a notebook's file may have, before and after it is run."""

PARAMETERS, INJECTED = "parameters", "injected-parameters"
"""The tags of the cell that gives the parameters their defaults, and of the one that sets them."""

_FORMAT = 4
_CELLS = ("code", "markdown", "raw")
_CELL_METADATA = ("tags", "jupyter", "slideshow")  # what a reader of the result sees
_KERNEL = ("name", "display_name", "language")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook as a job has it: its own text as JSON, its parameters, its first words."""

    text: str
    signature: Signature
    description: str


@dataclass(frozen=True, slots=True)
class ExecutedNotebook:
    """What a run of a notebook returns: the notebook with its outputs, as a file's bytes."""

    content: bytes


def read_notebook(path: Path) -> Notebook:
    """Return the notebook in a file.

    Raises:
        DeclarationError: no such file, no notebook of format 4, over 64 MiB, or in another
            language than Python.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            _refuse(
                path,
                f"it has {size:,} bytes; {LARGEST:,} is the most.",
                "clear its outputs, and read data from files.",
            )
        content = path.read_bytes()
    except OSError as error:
        _refuse(path, f"it cannot be read: {error.strerror}.", "name a file that can be read.")
    return parse(content, path)


def parse(content: bytes, path: Path) -> Notebook:
    """Return the notebook that a file's bytes are.

    Raises:
        DeclarationError: as `read_notebook`.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"it is no JSON: {str(error)[:200]}.", "save it anew from Jupyter.")
    if not isinstance(data, dict) or data.get("nbformat") != _FORMAT:
        found = data.get("nbformat") if isinstance(data, dict) else None
        _refuse(
            path,
            f"its nbformat is {shown(found)}; notebooks have {_FORMAT} since 2015.",
            "open it in Jupyter and save it, or run `jupyter nbconvert --to notebook`.",
        )
    metadata = _metadata(data.get("metadata", {}), path)
    cells = list(_cells(data.get("cells"), path))
    text = json.dumps({"metadata": metadata, "cells": cells}, sort_keys=True, ensure_ascii=False)
    if not encodable(text):
        _refuse(path, "it contains a lone surrogate, which UTF-8 cannot encode.", "remove it.")
    return Notebook(text=text, signature=_signature(cells, path), description=_description(cells))


def _metadata(found: Any, path: Path) -> dict[str, Any]:
    """Return what names the kernel, if that is Python's."""
    metadata = found if isinstance(found, dict) else {}
    kernel, info = (_dict(metadata.get(key)) for key in ("kernelspec", "language_info"))
    for language in (info.get("name"), kernel.get("language")):
        if language is not None and str(language).lower() not in ("python", "ipython"):
            _refuse(
                path,
                f"its language is {shown(language)}.",
                "write it in Python, or run its kernel in a container job.",
            )
    # The version of Python that an editor had is no part of the notebook.
    named = {key: kernel[key] for key in _KERNEL if isinstance(kernel.get(key), str)}
    # A notebook need not name its kernel; nbformat takes none that is named in part.
    whole = {"name": "python3", "display_name": "Python 3", **named}
    return {"kernelspec": whole, "language_info": {"name": "python"}}


def _cells(found: Any, path: Path) -> Iterator[dict[str, Any]]:
    if not isinstance(found, list):
        _refuse(path, f"its cells are {shown(found)}, not a list.", "save it anew from Jupyter.")
    for number, cell in enumerate(found, start=1):
        kind, source = _dict(cell).get("cell_type"), _dict(cell).get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if kind not in _CELLS or not isinstance(source, str):
            _refuse(
                path,
                f"its cell {number} is of the type {shown(kind)} with the source {shown(source)}.",
                "save it anew from Jupyter.",
            )
        kept = _cell(cell, kind, source, number, path)
        if INJECTED not in kept["metadata"]["tags"]:  # of an earlier run: each run adds its own
            yield kept


def _cell(
    cell: Mapping[str, Any], kind: str, source: str, number: int, path: Path
) -> dict[str, Any]:
    metadata = _dict(cell.get("metadata"))
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        _refuse(
            path,
            f"its cell {number} has the tags {shown(tags)}.",
            "write tags as a list of texts.",
        )
    kept = {key: metadata[key] for key in _CELL_METADATA if key in metadata}
    attached = {"attachments": cell["attachments"]} if _dict(cell.get("attachments")) else {}
    return {"cell_type": kind, "source": source, "metadata": {**kept, "tags": tags}, **attached}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _signature(cells: list[dict[str, Any]], path: Path) -> Signature:
    tagged = [
        cell
        for cell in cells
        if cell["cell_type"] == "code" and PARAMETERS in cell["metadata"]["tags"]
    ]
    if len(tagged) > 1:
        _refuse(
            path,
            f"{len(tagged)} of its cells are tagged {PARAMETERS!r}.",
            "put all parameters into one cell.",
        )
    return _assigned(tagged[0]["source"], path) if tagged else Signature()


def _assigned(source: str, path: Path) -> Signature:
    """Return the names that a cell assigns; one that is only annotated has no default."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        _refuse(
            path,
            f"its cell tagged {PARAMETERS!r} is no plain Python"
            f"{f', line {line}' if line else ''}: {str(error)[:200]}.",
            "leave only assignments there, and move magics to another cell.",
        )
    names: dict[str, bool] = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=targets):
                names |= dict.fromkeys(_stored(targets), True)
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                names[name] = names.get(name, False) or value is not None
    required = tuple(name for name, has_default in names.items() if not has_default)
    return Signature(names=tuple(names), required=required)


def _stored(targets: list[ast.expr]) -> Iterator[str]:
    for node in (node for target in targets for node in ast.walk(target)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _description(cells: list[dict[str, Any]]) -> str:
    """Return the first line of the first text: mostly the title."""
    for cell in cells:
        if cell["cell_type"] == "markdown" and (first := cell["source"].strip()):
            line: str = first.splitlines()[0].lstrip("# ")
            return line.replace("\0", " ")[:LONGEST_DESCRIPTION]
    return ""


def _refuse(path: Path, why: str, fix: str) -> NoReturn:
    raise DeclarationError(f"the notebook {shown_path(path)} is refused.", why=why, fix=fix)
