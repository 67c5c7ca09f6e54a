"""Executes the notebooks that ship, as a newcomer would: in a home directory of their own.

As a program it saves them with their outputs: `python tests/shipped_notebooks.py`. What
they show then bears no trace of the machine but the time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
HOME = "/home/you"
_PICTURES = "import altair\n\naltair.renderers.enable('png')\ndel altair\n"


def execute(name: str, reader: Path) -> nbformat.NotebookNode:
    """Run a notebook with this home directory, where no Docker engine answers."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    env = {
        **os.environ,
        "HOME": str(reader),
        "IPYTHONDIR": str(reader / ".ipython"),
        "DOCKER_HOST": f"unix://{reader}/no.sock",
    }
    # What is committed shows everywhere: charts as pictures, which need no JavaScript.
    startup = reader / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "charts.py").write_text(_PICTURES)
    for variable in ("RAYSCHED_HOME", "RAY_ADDRESS", "PYTEST_CURRENT_TEST"):
        env.pop(variable, None)
    client = NotebookClient(notebook, kernel_name="python3", timeout=120, record_timing=False)
    client.execute(cwd=str(FOLDER), env=env)
    return notebook


def stop(reader: Path) -> None:
    """Stop what the notebooks have started in this home directory."""
    from raysched.cluster import local

    if (reader / "raysched").exists() and local.find(reader / "raysched"):
        local.stop(reader / "raysched")


def neutral(notebook: nbformat.NotebookNode, reader: Path) -> nbformat.NotebookNode:
    """Return an executed notebook without what tells of the machine."""
    text = json.dumps(notebook).replace(str(reader), HOME)
    told = nbformat.from_dict(json.loads(text))
    told.metadata.language_info = {"name": "python"}
    return told


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            for name in sys.argv[1:] or NAMES:
                executed = neutral(execute(name, Path(folder)), Path(folder))
                nbformat.write(executed, FOLDER / name)
        finally:
            stop(Path(folder))


if __name__ == "__main__":
    main()
