"""The documentation names everything there is, nothing that is not, and its examples run."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import typer

import raysched as rs
from raysched import errors, testing
from raysched.bench import BENCHMARKS, history, restart, timetable
from raysched.cli import main
from raysched.client import Client, Run
from raysched.client.jobfile import read
from raysched.core.causes import Cause
from raysched.core.explain import Explanation, explain_deleted
from raysched.core.model import Decision, Trigger
from raysched.core.sharing import LONGEST_S, MOST
from raysched.core.slots import MOST_QUEUED, ON_TIME
from raysched.core.states import State
from raysched.engine.engine import WINDOW
from raysched.engine.runs import GUARD_SLACK, STOP_AGAIN
from raysched.errors import RayschedError
from raysched.runners.current import Current
from raysched.spec import mounts, notebook_job
from raysched.spec.container_job import ContainerOptions, _Declared
from raysched.spec.job import _Options
from raysched.spec.notebook_job import NotebookOptions
from raysched.spec.options import Options
from raysched.spec.sandbox import CAPABILITIES
from raysched.spec.units import duration
from raysched.store.schema import DATASETS, INSTANT
from raysched.testing import Frames, LocalAttempt, LocalRun, LocalRunner, World, plugin

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = {**DOCS, "README.md": (ROOT / "README.md").read_text()}
TYPES = {
    pa.string(): "text",
    pa.int64(): "int",
    pa.float64(): "float",
    INSTANT: "instant",
    pa.list_(pa.string()): "list of text",
    pa.bool_(): "bool",
}
_BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, kind: str) -> list[str]:
    """Return the fenced blocks of one kind."""
    return [body for info, body in _BLOCK.findall(text) if info == kind]


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of any level."""
    text = _BLOCK.sub(lambda block: re.sub("^#", " #", block[0], flags=re.MULTILINE), PAGES[page])
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found, f"{page} has no section {heading!r}"
    return found[1]


def tables(page: str, heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cells, without their heads."""
    found: list[list[list[str]]] = []
    inside = False
    for line in section(page, heading).splitlines():
        if not line.startswith("|"):
            inside = False
        elif not inside:
            inside = True
            found.append([])
        elif not re.fullmatch(r"[|-]+", line):
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            found[-1].append([cell.strip().replace(r"\|", "|") for cell in cells])
    return found


def names(page: str, heading: str, which: int = 0) -> list[str]:
    """Return what stands in backticks in the first column of a table."""
    return [name for row in tables(page, heading)[which] for name in re.findall("`(.+?)`", row[0])]


_SHARED = {"home", "output"}  # of nearly every command, told once above the table


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


# ------------------------------------------------------------------ nothing is missing


def test_every_key_and_every_cause_of_an_explanation_is_documented():
    assert set(names("reference.md", "Why it does not run")) == set(explain_deleted("x").to_dict())
    assert set(explain_deleted("x").to_dict()) == {"what", *Explanation.__dataclass_fields__}
    assert set(names("reference.md", "Why it does not run", 1)) == set(Cause)


def test_every_option_of_a_job_is_documented_in_its_order_and_with_its_default():
    told = {row[0].strip("`"): row[3] for row in tables("jobs.md", "Options of rs.job")[0]}
    fields = _Options.__dataclass_fields__
    assert list(told) == list(fields)
    for name, default in told.items():
        assert ast.literal_eval(default.strip("`")) == fields[name].default, name


def test_every_option_of_a_container_is_documented_its_own_first_and_with_its_default():
    rows = tables("containers.md", "Options of rs.container")[0]
    told = {row[0].strip("`"): row[3] for row in rows}
    fields, common = ContainerOptions.__dataclass_fields__, list(Options.__dataclass_fields__)
    assert list(told) == [name for name in fields if name not in common] + common
    for name, default in told.items():
        assert ast.literal_eval(default.strip("`")) == fields[name].default, name
    assert list(told) == [name for row in rows for name in re.findall("`(.+?)`", row[0])]


def test_every_option_of_a_container_has_a_type():
    assert {"name", *_Declared.__annotations__} == set(ContainerOptions.__dataclass_fields__)


def test_every_option_of_a_notebook_is_documented_in_its_order_and_with_its_default():
    rows = tables("notebook-jobs.md", "Options of rs.notebook")[0]
    told = {row[0].strip("`"): row[3] for row in rows}
    fields, common = NotebookOptions.__dataclass_fields__, list(Options.__dataclass_fields__)
    assert list(told) == [name for name in fields if name not in common] + common
    for name, default in told.items():
        assert ast.literal_eval(default.strip("`")) == fields[name].default, name
    assert set(notebook_job._Declared.__annotations__) == set(fields)


def test_what_a_container_may_be_given_of_the_node_is_documented():
    assert names("containers.md", "Capabilities") == list(CAPABILITIES)
    refused = [re.findall("`(.+?)`", row[0]) for row in tables("containers.md", "Mounts")[0]]
    assert refused[1] == ["/", *mounts._NEVER_SOURCES]
    assert set(refused[2]) == mounts._SOCKETS
    assert refused[3] == ["/", *mounts._NEVER_TARGETS]


def test_the_job_file_that_is_shown_declares_the_job_that_is_meant(tmp_path):
    (shown,) = blocks(DOCS["containers.md"], "toml file=wordcount/job.toml")
    folder = tmp_path / "wordcount"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "job.toml").write_text(shown)
    assert (
        read(folder / "job.toml").spec
        == rs.container(
            "wordcount",
            build=folder,
            schedule=rs.every("6h"),
            memory="512MiB",
            retries=rs.Retry(3, delay="30s", backoff=2),
            mounts=[
                "/data/books:/books",
                rs.Mount(source="/data/out", target="/out", read_only=False),
            ],
            params={"language": "en"},
        ).spec
    )


def test_the_schedules_of_a_job_file_that_are_shown_are_those_in_python(tmp_path):
    file = tmp_path / "job.toml"
    kinds = []
    for written, python in tables("containers.md", "job.toml")[1]:
        file.write_text(f'image = "a"\nschedule = {written.strip("`")}\n')
        (schedule,) = read(file).spec.schedules
        kinds.append(schedule.to_json()["kind"])
        assert python.startswith(f"[rs.{kinds[-1]}]")
    assert kinds == ["cron", "every", "after_end", "at"]


@pytest.mark.parametrize("name", ["cron", "every", "after_end", "at"])
def test_every_parameter_of_a_schedule_is_documented(name):
    parameters = inspect.signature(getattr(rs, name)).parameters
    told = {row[0].strip("`"): row[3] for row in tables("jobs.md", f"rs.{name}")[0]}
    assert list(told) == list(parameters)
    for each, default in told.items():
        meant = parameters[each].default
        if default == "required":
            assert meant is inspect.Parameter.empty
        else:
            assert ast.literal_eval(default.strip("`")) == meant, each


def test_every_field_of_a_retry_policy_is_documented():
    told = {row[0].strip("`"): row[3].strip("`") for row in tables("jobs.md", "Retries")[0]}
    assert list(told) == list(rs.Retry.__dataclass_fields__)
    for name, default in told.items():
        value, meant = ast.literal_eval(default), getattr(rs.Retry(), name)
        assert (duration(value, zero=True) if isinstance(meant, timedelta) else value) == meant


def test_every_policy_is_documented():
    told = {
        rs.Overlap: names("policies.md", "Overlap and max_active"),
        rs.Catchup: names("policies.md", "Catch-up after a downtime"),
    }
    for kind, texts in told.items():
        assert texts == [f'"{member}"' for member in kind]


def test_everything_that_a_run_may_know_of_itself_is_documented():
    told = {name.partition("(")[0] for name in names("jobs.md", "rs.current()")}
    fields = {name for name in Current.__dataclass_fields__ if not name.startswith("_")}
    assert told == (fields | {"day", "progress", "metric"})
    assert told <= set(dir(Current))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_column_is_documented_in_its_order_and_with_its_type(dataset):
    told = [(row[0].strip("`"), row[1]) for row in tables("history.md", dataset)[0]]
    assert told == [(field.name, TYPES[field.type]) for field in DATASETS[dataset]]


def test_every_state_decision_and_trigger_is_documented():
    assert names("how-it-works.md", "The life of a run") == list(State)
    finals = [row[2] for row in tables("how-it-works.md", "The life of a run")[0]]
    assert finals == ["yes" if state.final else "no" for state in State]
    assert names("history.md", "decisions", 1) == list(Decision)
    trigger = next(row for row in tables("history.md", "runs")[0] if row[0] == "`trigger`")
    assert re.findall("`(.+?)`", trigger[2]) == list(Trigger)


def test_every_error_is_documented():
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RayschedError)
    }
    told = [row[0].strip("`") for row in tables("reference.md", "Errors")[0]]
    assert sorted(told) == sorted(kinds)


def test_every_command_is_documented_with_every_option_and_no_other():
    commands = typer.main.get_command(main.app).commands
    told = {}
    for row in tables("reference.md", "Command line")[0]:
        program, name, *_ = row[0].strip("`").split()
        assert program == "raysched"
        told[name] = row[1]
    assert set(told) == set(commands) == set(main._COMMANDS)
    for name, text in told.items():
        options = {opt for parameter in commands[name].params for opt in parameter.opts}
        named = set(re.findall(r"`(--?[a-z-]+)", text))
        assert named <= options, name
        for parameter in commands[name].params:
            if parameter.param_type_name == "option" and parameter.name not in _SHARED:
                assert named & set(parameter.opts), f"{name} {parameter.opts}"


def test_every_exit_code_is_documented_and_no_other():
    (sentence,) = re.findall(
        r"Exit codes: (.*?)\.\n", section("reference.md", "Command line"), re.S
    )
    told = {int(code) for code in re.findall(r"\b\d+", sentence)}
    assert told == {
        0,
        *(code for path in (ROOT / "raysched/cli").rglob("*.py") for code in _codes(path)),
    }


def _codes(path):
    """Return the exit codes that a module of the command line gives, of its own constants too."""
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit":
            (code,) = node.args
            yield constants[code.id] if isinstance(code, ast.Name) else ast.literal_eval(code)
        elif isinstance(node, ast.FunctionDef) and node.name in ("run", "exit_code"):
            for back in (each for each in ast.walk(node) if isinstance(each, ast.Return)):
                yield from _numbers(back.value)


def _numbers(node):
    match node:
        case ast.Constant(value=int(code)) if type(code) is int:
            yield code
        case ast.BinOp():
            yield eval(ast.unparse(node))
        case ast.IfExp():
            yield from (*_numbers(node.body), *_numbers(node.orelse))


def test_every_page_is_in_the_index():
    told = set(re.findall(r"\]\(([\w-]+\.md)\)", DOCS["index.md"]))
    assert told == set(DOCS) - {"index.md"}


def test_every_method_of_client_and_run_is_documented():
    for kind, extra in ((Client, set()), (Run, {"id"})):
        told = {name.partition("(")[0] for name in names("reference.md", kind.__name__)}
        assert told == public(kind) | extra


def test_every_name_of_the_module_is_documented():
    assert set(names("reference.md", "The module")) == {
        f"rs.{name}" for name in rs.__all__ if not name.startswith("_")
    }


def test_every_name_of_the_testing_kit_is_documented():
    told = {name.partition("(")[0] for name in names("reference.md", "Testing")}
    fixtures = {name for name in vars(plugin) if name.startswith("raysched_")}
    assert told == {*testing.__all__, *fixtures}


@pytest.mark.parametrize("kind", [LocalRunner, LocalRun, LocalAttempt, World, Frames])
def test_every_member_of_the_testing_kit_is_documented(kind):
    rows = {
        row[0].strip("`").partition("(")[0]: row[1] for row in tables("reference.md", "Testing")[0]
    }
    told = {name.partition("(")[0] for name in re.findall("`(.+?)`", rows[kind.__name__])}
    inner = {"ask", "ask_all", "next_event"}  # for tests of raysched itself
    assert public(kind) - inner <= told


# ------------------------------------------------------------------ nothing is made up


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page):
    text = PAGES[page]
    written = re.findall(r" file=(\S+)", text)  # files of the reader's
    for name in re.findall(r"\brs\.([A-Za-z_]+)", text):
        assert name in rs.__all__, f"rs.{name}"
    for name in re.findall(r"\bclient\.([a-z_]+)\(", text):
        assert name in public(Client), f"client.{name}"
    for name in re.findall(r"\brun\.([a-z_]+)\(", text):
        assert name in public(Run), f"run.{name}"
    for name in re.findall(r"`raysched ([a-z]+)", text):
        assert name in main._COMMANDS, f"raysched {name}"
    for name in re.findall(r"`((?:raysched|tests|jobs|docs)/[\w/.]*)`", text):
        assert (ROOT / name).exists() or name in written, name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)]+)\)", _BLOCK.sub("", PAGES[page])):
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve() if path else folder / page
        assert file.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", _BLOCK.sub("", file.read_text()), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, target


# ------------------------------------------------------------------ the examples are true


def test_the_numbers_that_are_told_are_those_of_the_code():
    policies, engine = DOCS["policies.md"], " ".join(DOCS["how-it-works.md"].split())
    assert f"within {ON_TIME.total_seconds():g} seconds counts as on time" in policies
    assert f"at {MOST_QUEUED:,} unfinished runs of a job, its slots are skipped" in policies
    assert f"up to {WINDOW} of one shape" in engine
    tasks = section("how-it-works.md", "Shared tasks")
    assert f"at most {LONGEST_S * 1000:g} ms" in tasks
    assert f"At most {MOST} runs share" in tasks
    assert f"{GUARD_SLACK.total_seconds():g} s after its timeout" in engine
    assert f"repeated every {STOP_AGAIN.total_seconds():g} s" in engine


def test_every_benchmark_is_documented_with_its_size_and_its_targets():
    table = section("how-it-works.md", "What it is to reach")
    assert re.findall(r"^\| `(\w+)` ", table, re.MULTILINE) == list(BENCHMARKS)
    sizes = (history.RUNS, timetable.JOBS, timetable.BYTES, restart.JOBS, restart.ACTIVE)
    assert all(f"{size:,}" in table for size in sizes)
    assert f"below {history.TARGET_S * 1e3:g} ms" in table
    assert f"at most {timetable.WAKE_UP_MS:g} ms" in table
    assert f"{timetable.READY_S:g} s" in table
    assert f"at most {restart.TARGET_S:g} s" in table


def test_the_error_that_is_shown_is_the_one_that_is_raised():
    with pytest.raises(errors.InvalidSchedule) as raised:
        rs.cron("0 18-6 * * *")
    assert f"{raised.value}\n" in blocks(DOCS["jobs.md"], "text")


def test_the_table_of_daylight_saving_is_what_happens():
    zone = ZoneInfo("Europe/Berlin")
    days = (datetime(2026, 3, 29, tzinfo=zone), datetime(2026, 10, 25, tzinfo=zone))
    rows = tables("policies.md", "Daylight saving")[1]
    assert len(rows) > 4
    for expression, *told in rows:
        schedule = rs.cron(expression.strip("`"), timezone="Europe/Berlin")
        for day, text in zip(days, told, strict=True):
            until = day.replace(hour=5).astimezone(UTC)
            slots, at = [], day.astimezone(UTC) - timedelta(seconds=1)
            while (at := schedule.after(at, at)) < until:
                slots.append(f"{at.astimezone(zone):%H:%M %Z}")
            assert (", ".join(slots) or "none") == text, (expression, day)
