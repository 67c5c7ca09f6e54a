"""The notebooks in notebooks/, executed as a newcomer would, and as they are committed."""

from __future__ import annotations

import re

import nbformat
import pytest

from shipped_notebooks import FOLDER, NAMES, execute, neutral, stop

pytestmark = pytest.mark.timeout(240)

FIRST, HISTORY, BOXES = NAMES
_TEXT = ("text/plain", "text/html")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A newcomer's home directory, and one Ray for all notebooks."""
    folder = tmp_path_factory.mktemp("reader")
    yield folder
    stop(folder)


def committed(name):
    return nbformat.read(FOLDER / name, as_version=4)


def shown(notebook):
    """Return what each cell shows, by kind: the text of it changes with the time.

    Without displays: of a wait, there is one only if it takes long.
    """
    return [
        [
            each.get("name") or sorted(each.get("data", [each.output_type]))
            for each in cell.outputs
            if each.output_type != "display_data"
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def texts(notebook):
    """Return all that the cells have shown."""
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    return [each.get("text") or each.data.get(kind) for kind in _TEXT for each in outputs]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_shows_what_its_committed_outputs_show(name, reader):
    executed = neutral(execute(name, reader), reader)
    assert shown(executed) == shown(committed(name))
    if name == HISTORY:  # in virtual time nothing is left to chance
        assert texts(executed) == texts(committed(name))


def test_the_committed_outputs_say_what_the_text_around_them_says():
    first, boxes = ("\n".join(filter(None, texts(committed(name)))) for name in (FIRST, BOXES))
    assert "fix: write 'region' if that is meant." in first
    assert re.search(r"\bupdated\b.*\n.*\bunchanged\b", first)
    assert "the feed is broken until Monday" in first
    assert "the container engine of node" in boxes
    assert "num_gpus=1" in boxes
    assert "not started within queue_timeout=2s" in boxes
    assert "{'epochs': 2}" in boxes


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_small_whole_and_bears_no_trace_of_a_machine(name):
    text = (FOLDER / name).read_text()
    assert len(text) < 400_000
    assert not re.search(r"(?<![\w/.~-])/(?:root|work|tmp|usr|opt|mnt|home/(?!you\b))", text)
    cells = [cell for cell in committed(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(each.output_type == "error" for cell in cells for each in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_links_between_notebooks_and_docs_lead_somewhere(name):
    prose = "\n".join(cell.source for cell in committed(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert (FOLDER / target).is_file(), target
