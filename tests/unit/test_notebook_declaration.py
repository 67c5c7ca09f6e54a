"""What of a notebook is a job's code, which parameters it takes, and what is refused."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raysched as rs
from notebook_files import code, notebook, text, write
from raysched.client.folder import scan
from raysched.errors import Conflict, DeclarationError, InvalidName, InvalidParameter
from raysched.runners.current import Current
from raysched.runners.notebook.document import assignments, document
from raysched.runners.notebook.failure import Raised, failed, plain
from raysched.runners.pinned import pin
from raysched.spec import notebook as spec_notebook
from raysched.spec.parameters import json_value

PARAMETERS = code("region = 'EU'\nday, n = None, 3", "parameters")
RUN = Current(run_id="report@2026-01-01T00:00:00Z", attempt=2, job="report")


@pytest.fixture
def declare(tmp_path):
    def _declare(*cells, **options):
        return rs.notebook(write(tmp_path / "report.ipynb", *cells), **options)

    return _declare


def version(job):
    return job.spec.version(pin(job).code_hash)


# -- what it declares -------------------------------------------------------------------


def test_a_notebook_is_a_job_named_after_its_file_and_told_by_its_title(declare):
    job = declare(text("\n# The daily report\n\nof flights"), code("1"), schedule="@daily")
    assert (job.name, job.spec.description) == ("report", "The daily report")
    assert job.spec.schedule_text == "cron @daily" or job.spec.schedules
    assert declare(code("1"), name="other").name == "other"
    assert job.options(num_cpus=2).spec.resources.num_cpus == 2


def test_whatever_the_title_says_the_description_is_short_and_one_line(declare):
    job = declare(text(f"## {'long ' * 1000}\nmore"), code("1"))
    assert len(job.spec.description) == 1000
    assert declare(code("1"), text("")).spec.description == ""
    assert declare(text("nul\0"), code("1")).spec.description == "nul "


def test_calling_it_runs_nothing(declare):
    with pytest.raises(Conflict, match="is a notebook"):
        declare(code("1"))()


def test_a_file_name_that_names_no_job_is_refused_with_the_way_out(tmp_path):
    file = write(tmp_path / "my report.ipynb", code("1"))
    with pytest.raises(InvalidName, match="name="):
        rs.notebook(file)
    assert rs.notebook(file, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("source", "names", "required"),
    [
        ("a = 1\nb, (c, *d) = x", ("a", "b", "c", "d"), ()),
        ("a: int\nb: str = 'x'", ("a", "b"), ("a",)),
        ("a: int\na = 3", ("a",), ()),
        ("import os\nif True:\n    hidden = 1\nx[0] = 1\no.a = 2\na = b = 1", ("a", "b"), ()),
        ("", (), ()),
    ],
)
def test_the_names_that_the_tagged_cell_assigns_are_the_parameters(
    declare, source, names, required
):
    signature = declare(code("z = 1"), code(source, "parameters")).spec.signature
    assert (signature.names, signature.required, signature.open) == (names, required, False)


def test_without_a_tagged_cell_there_are_no_parameters(declare):
    with pytest.raises(InvalidParameter, match="takes no parameter 'region'"):
        declare(code("region = 'EU'"), params={"region": "US"})


def test_a_text_cell_with_the_tag_gives_no_parameters(declare):
    tagged = {**text("region = 'EU'"), "metadata": {"tags": ["parameters"]}}
    assert declare(tagged, code("1")).spec.signature.names == ()
    assert declare(tagged, PARAMETERS).spec.signature.names == ("region", "day", "n")


def test_a_parameter_that_the_notebook_does_not_have_is_refused_with_the_nearest(declare):
    with pytest.raises(InvalidParameter, match="write 'region'"):
        declare(PARAMETERS, params={"regoin": "US"})


def test_a_schedule_needs_every_parameter_that_has_no_default(declare):
    needs = code("region: str", "parameters")
    with pytest.raises(InvalidParameter, match="needs the parameter 'region'"):
        declare(needs, schedule="@daily")
    assert declare(needs, schedule="@daily", params={"region": "US"}).spec.params


def test_an_option_that_does_not_exist_is_refused_with_the_nearest(declare):
    with pytest.raises(DeclarationError, match="write 'timeout'"):
        declare(code("1"), timeuot="1h")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "nbformat is None"),
        (b'{"nbformat": 3, "worksheets": []}', "nbformat is 3"),
        (b'{"nbformat": 4}', "cells are None"),
        (b'{"nbformat": 4, "cells": [7]}', "cell 1"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}', "cell 1"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "x", "source": ""}]}', "type 'x'"),
        (
            b'{"nbformat":4,"cells":[{"cell_type":"raw","source":"","metadata":{"tags":"a"}}]}',
            "the tags 'a'",
        ),
        (b'{"nbformat": 4, "cells": [{"cell_type": "raw", "source": "\\ud800"}]}', "surrogate"),
    ],
)
def test_what_is_no_notebook_is_refused_and_the_error_says_why(tmp_path, content, why):
    file = tmp_path / "broken.ipynb"
    file.write_bytes(content)
    with pytest.raises(DeclarationError) as raised:
        rs.notebook(file)
    assert why in raised.value.why
    assert raised.value.fix
    assert str(file) in raised.value.what


@pytest.mark.parametrize("language", ["R", "julia", "bash"])
def test_another_language_is_refused(tmp_path, language):
    file = write(tmp_path / "other.ipynb", code("1"), language=language)
    with pytest.raises(DeclarationError, match="its language is"):
        rs.notebook(file)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([code("%matplotlib inline\na = 1", "parameters")], "no plain Python, line 1"),
        ([code("a = (", "parameters")], "no plain Python"),
        ([code("a = 1", "parameters"), code("b = 1", "parameters")], "2 of its cells"),
    ],
)
def test_a_parameters_cell_that_cannot_be_meant_is_refused(declare, cells, why):
    with pytest.raises(DeclarationError, match=why):
        declare(*cells)


def test_a_missing_file_is_refused_with_the_places_that_were_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeclarationError) as raised:
        rs.notebook("nowhere.ipynb")
    assert str(tmp_path / "nowhere.ipynb") in raised.value.why
    assert os.path.dirname(__file__) in raised.value.why


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    file = tmp_path / "huge.ipynb"
    with file.open("wb") as sparse:
        sparse.truncate(spec_notebook.LARGEST + 1)
    with pytest.raises(DeclarationError, match=r"67,108,864 is the most"):
        rs.notebook(file)


# -- the version ------------------------------------------------------------------------


def test_running_or_opening_a_notebook_does_not_change_its_version(tmp_path):
    def saved(**changes):
        cell = {**code("print(1)", "a"), **changes}
        return version(rs.notebook(write(tmp_path / "n.ipynb", PARAMETERS, cell)))

    plain_version = saved()
    printed = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    timing = {"tags": ["a"], "execution": {"iopub.status.busy": "2026"}, "scrolled": True}
    assert saved(outputs=[printed], execution_count=7) == plain_version
    assert saved(metadata=timing, id="abc") == plain_version
    assert saved(source=["print(", "1)"]) == plain_version


@pytest.mark.parametrize(
    "change",
    [
        {"source": "print(2)"},
        {"metadata": {"tags": ["b"]}},
        {"cell_type": "raw"},
    ],
)
def test_source_tags_and_kind_change_the_version(tmp_path, change):
    cell = code("print(1)", "a")
    versions = {
        version(rs.notebook(write(tmp_path / "n.ipynb", each)))
        for each in (cell, {**cell, **change})
    }
    assert len(versions) == 2


def test_the_kernel_changes_the_version_and_the_editors_python_does_not(tmp_path):
    def with_metadata(**metadata):
        return version(rs.notebook(write(tmp_path / "n.ipynb", code("1"), **metadata)))

    kernel = {"name": "other", "language": "python", "display_name": "Other"}
    info = {"name": "python", "version": "3.14.0"}
    assert with_metadata(kernelspec=kernel) != with_metadata()
    assert with_metadata(language_info=info, widgets={"a": 1}) == with_metadata()


def test_a_cell_that_an_earlier_run_injected_is_no_part_of_it(declare):
    assert version(declare(PARAMETERS, code("n = 9", "injected-parameters"), code("n"))) == version(
        declare(PARAMETERS, code("n"))
    )


# -- what a run executes ----------------------------------------------------------------


def run_of(job, **params):
    return document(job.notebook.text, params, RUN)


def test_parameters_are_set_in_a_cell_right_after_the_tagged_one(declare):
    job = declare(code("a = 0"), PARAMETERS, code("region"))
    run = run_of(job, region="US", n=None)
    assert [cell.source for cell in run.cells[1:3]] == [
        PARAMETERS["source"],
        "region = 'US'\nn = None",
    ]
    assert run.cells[2].metadata.tags == ["injected-parameters"]
    assert run.metadata.raysched == {
        "job": "report",
        "run_id": RUN.run_id,
        "attempt": 2,
        "slot": None,
        "params": {"region": "US", "n": None},
    }


def test_without_parameters_nothing_is_injected(declare):
    assert len(run_of(declare(PARAMETERS, code("region"))).cells) == 2


@pytest.mark.parametrize("kernelspec", [{}, {"name": "python3"}, {"display_name": "Py"}, None])
def test_a_notebook_that_names_no_kernel_or_half_of_one_runs_as_well(tmp_path, kernelspec):
    job = rs.notebook(write(tmp_path / "n.ipynb", code("1"), kernelspec=kernelspec))
    assert run_of(job).cells[0].source == "1"


HOSTILE = [
    "'; import os; os.system('id') #",
    '"""',
    "\\",
    "a\nimport os",
    "\r\n!ls",
    "%run x",
    "\u2028__import__('os')",
    "{__import__('os')}",
    "x?",
    "\x00\x1b[31m",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON)
def test_whatever_a_parameter_says_it_stays_a_value(value):
    value = json.loads(json_value(value, of="params")) if not _lone(value) else "x"
    source = assignments({"a": value, "b": 1})
    first, second = ast.parse(source).body
    assert ast.literal_eval(first.value) == value
    assert (first.targets[0].id, second.targets[0].id) == ("a", "b")
    assert _as_a_kernel_reads(source) == f"{source}\n"


def _lone(value):
    return any(0xD800 <= ord(char) < 0xE000 for char in repr(value))


def _as_a_kernel_reads(source):
    """Return what IPython makes of a cell before Python reads it: magics, help, shells."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


# -- what is told of a failure ----------------------------------------------------------


def test_a_failure_names_the_cell_the_exception_and_has_no_escapes(declare):
    cell = run_of(declare(code("# load\n1/0", "load", "b"))).cells[0]
    raised = Raised(
        kind="ZeroDivisionError",
        message="division\nby zero",
        traceback="\x1b[31mZero\x1b[39m\x1b]8;;http://x\x07link\x00",
    )
    failure = failed(cell, 3, raised).failure
    assert failure.reason == "cell 3 [load, b] '# load' failed: ZeroDivisionError: division"
    assert failure.error_type == "ZeroDivisionError"
    assert failure.error_message == "division\nby zero\nin cell 3 [load, b] '# load'"
    assert failure.traceback == "Zerolink\\x00"
    assert failure.exit_code is None


def test_an_exit_code_is_told(declare):
    cell = run_of(declare(code("exit(3)"))).cells[0]
    assert failed(cell, 1, Raised(kind="SystemExit", message="3")).failure.exit_code == 3


def test_lone_surrogates_and_escapes_that_begin_nothing_are_survived():
    assert plain("a\udcff\x1b[b\x1b") == "a\\udcff\x1b"


# -- what is not installed --------------------------------------------------------------

RUN_IT = """
import sys
sys.modules[{missing!r}] = None
from raysched.errors import PackagesMissing
from raysched.runners.notebook import Program
try:
    Program("")()
except PackagesMissing as error:
    print(error)
"""
READ_IT = """
import sys
sys.modules["nbformat"] = None
from raysched.client.notebooks import node
from raysched.errors import PackagesMissing
try:
    node(b"", "results/report/r.ipynb")
except PackagesMissing as error:
    print(error)
"""


@pytest.mark.parametrize("missing", ["nbclient", "nbformat", "ipykernel"])
def test_a_node_without_the_packages_says_what_to_install(missing):
    said = _said(RUN_IT.format(missing=missing))
    assert "this node cannot run notebooks" in said
    assert 'install "raysched[notebook]"' in said


def test_a_client_without_nbformat_says_where_the_notebook_lies():
    assert "open results/report/r.ipynb, below the home" in _said(READ_IT)


def _said(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


# -- the jobs folder --------------------------------------------------------------------


def test_a_jobs_folder_declares_a_notebook_beside_the_file_that_names_it(tmp_path, monkeypatch):
    write(tmp_path / "jobs" / "books" / "report.ipynb", PARAMETERS)
    write(tmp_path / "books" / "report.ipynb", code("'the one of the working directory'"))
    (tmp_path / "jobs" / "reports.py").write_text(
        "import raysched as rs\n"
        "eu = rs.notebook('books/report.ipynb', name='eu', schedule='@daily')\n"
        "us = eu.options(name='us', params={'region': 'US'})\n"
    )
    monkeypatch.chdir(tmp_path)
    found = scan("jobs")
    assert found.faults == []
    assert [each.job.name for each in found.found] == ["eu", "us"]
    assert all(each.job.spec.signature.names == ("region", "day", "n") for each in found.found)


def test_a_broken_notebook_is_a_fault_of_the_file_that_declares_it(tmp_path):
    (tmp_path / "n.ipynb").write_text("{}")
    (tmp_path / "reports.py").write_text("import raysched as rs\n\nrs.notebook('n.ipynb')\n")
    (fault,) = scan(tmp_path).faults
    assert (fault.file.name, fault.line) == ("reports.py", 3)
    assert "nbformat" in fault.error


def test_a_notebook_is_triggered_in_virtual_time_like_every_job(declare):
    from raysched.testing import simulate

    job = declare(PARAMETERS, schedule="@daily")
    done = simulate([job], datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
    assert set(done.runs.status) == {"succeeded"}


def test_the_helper_writes_what_jupyter_reads():
    import nbformat

    nbformat.validate(nbformat.from_dict(notebook(code("1", id="a"), {**text("x"), "id": "b"})))
