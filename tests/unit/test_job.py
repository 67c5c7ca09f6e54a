"""A job: refused at its declaration or not at all; a value that comes back from JSON."""

from __future__ import annotations

import functools
import inspect
import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile import STRANGE
from raysched.errors import (
    DeclarationError,
    InputError,
    InvalidName,
    InvalidParameter,
    InvalidPolicy,
    InvalidResource,
    InvalidSchedule,
    InvalidUnit,
)
from raysched.spec.definition import JobSpec, spec_from_json
from raysched.spec.job import Job, job
from raysched.spec.policies import Catchup, Overlap, Placement, Retry
from raysched.spec.schedules import after_end, at, cron, every


def daily(region: str = "EU") -> str:
    """Report the delays of a day.

    At length.
    """
    return f"delays of {region}"


OPTIONS = [
    *("name", "schedule", "timezone", "num_cpus", "num_gpus", "memory", "resources", "placement"),
    *("label_selector", "retries", "timeout", "queue_timeout", "overlap", "catchup", "max_catchup"),
    *("misfire_grace", "max_active", "params", "tags", "priority", "runtime_env", "env"),
]


# ------------------------------------------------------------------ an ordinary callable


def test_a_decorated_function_is_called_as_before():
    declared = job(schedule="@daily")(daily)
    assert declared("US") == declared(region="US") == "delays of US"
    assert (declared.__name__, declared.__doc__) == ("daily", daily.__doc__)
    assert declared.__wrapped__ is daily
    assert inspect.signature(declared) == inspect.signature(daily)
    assert declared.spec.description == "Report the delays of a day."
    assert repr(declared) == "<Job daily: cron @daily UTC>"


def test_a_decorator_without_parentheses_declares_the_defaults():
    assert (
        job(daily).spec
        == job()(daily).spec
        == JobSpec(
            name="daily",
            signature=job(daily).spec.signature,
            description="Report the delays of a day.",
        )
    )


def test_a_decorated_method_stays_a_method():
    class Report:
        region = "US"

        @job(name="report")
        def run(self, year=2026):
            return self.region, year

    assert Report().run(2025) == ("US", 2025)
    assert isinstance(Report.run, Job)
    assert Report().run.spec.name == "report"


def test_attributes_of_the_function_do_not_hide_those_of_the_job():
    def odd():
        """Do nothing."""

    odd.spec = odd.function = odd._declared = "mine"
    assert job(odd).spec.name == "odd"
    assert job(odd).options(priority=3).spec.priority == 3


def test_options_give_a_changed_copy():
    first = job(num_cpus=2, tags=["etl"])(daily)
    second = first.options(num_cpus=4)
    assert (first.spec.resources.num_cpus, second.spec.resources.num_cpus) == (2, 4)
    assert second.spec.tags == ("etl",)
    with pytest.raises(InvalidResource):
        first.options(num_cpus=-1)
    assert first.spec.resources.num_cpus == 2


# ------------------------------------------------------------------ what is no function


async def later():
    """Wait."""


async def drops():
    """Wait, and yield."""
    yield 1


class CallableLater:
    """A callable whose call is async."""

    async def __call__(self):
        """Wait."""


@pytest.mark.parametrize(
    "function", [later, drops, functools.partial(later), CallableLater(), functools.partial(drops)]
)
def test_an_async_function_is_refused(function):
    with pytest.raises(DeclarationError, match="is an async function") as caught:
        job(name="later")(function)
    assert "asyncio.run" in caught.value.fix


@pytest.mark.parametrize("thing", [int, CallableLater, "daily", 5, None, [daily]])
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(DeclarationError, match="is not a function") as caught:
        job()(thing)
    assert "def" in caught.value.fix


def test_a_job_is_not_declared_twice():
    with pytest.raises(DeclarationError, match="'daily' is a job already") as caught:
        job()(job(daily))
    assert "options" in caught.value.fix


@pytest.mark.parametrize("nameless", [lambda: 1, functools.partial(daily, "US")])
def test_a_function_without_a_name_of_its_own_needs_one(nameless):
    with pytest.raises(InvalidName) as caught:
        job(nameless)
    assert 'name="' in caught.value.fix
    assert job(name="mine")(nameless).name == "mine"


# ------------------------------------------------------------------ refused options


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("bad", STRANGE, ids=lambda bad: type(bad).__name__)
def test_no_option_takes_a_strange_object(option, bad):
    with pytest.raises(InputError) as caught:
        job(**{option: bad})(daily)
    assert caught.value.what
    assert caught.value.why


REFUSED = [
    (InvalidName, "name", ["", "a/b", "..", "-rf", "a\0b", "a\u202eb", "a\n", "x" * 10_000, 5]),
    (InvalidSchedule, "schedule", ["", "61 * * * *", 5, [5], "0 0 31 2 *", timedelta(1)]),
    (InvalidSchedule, "timezone", ["/etc/passwd", "../UTC", "localtime", "EST5EDT ", None, 5]),
    (InvalidResource, "num_cpus", [-1, math.nan, math.inf, "2", True, None]),
    (InvalidResource, "num_gpus", [1.5, -1, "1", True, None]),
    (InvalidUnit, "memory", ["512M", "1 K", "8gb", "-1GB", True, -1, 1.5]),
    (InvalidResource, "resources", ["ssd", {"CPU": 1}, {"ssd": -1}, {"": 1}, {1: 1}]),
    (InvalidPolicy, "placement", ["", "node", "node:", "node:a/b", "PACK", None]),
    (DeclarationError, "label_selector", ["a", {"a": 1}, {1: "a"}, {"a": "\ud800"}]),
    (InvalidPolicy, "retries", [-1, True, 1.5, "3", None, 1001]),
    (InvalidUnit, "timeout", ["5", 5, "1.5", "m5", "5M", "1m1h", "0s", timedelta(-1), "37000d"]),
    (InvalidUnit, "queue_timeout", ["5", 5, "0s", timedelta(0), timedelta.max]),
    (InvalidUnit, "misfire_grace", ["5", 5, "0s", True]),
    (InvalidPolicy, "overlap", ["", "SKIP", "wait", None, 0]),
    (InvalidPolicy, "catchup", ["", "never", None, False]),
    (InvalidPolicy, "max_catchup", [0, -1, 1001, True, 1.5, "3", None]),
    (InvalidPolicy, "max_active", [0, -1, True, 1.5, "3"]),
    (InvalidPolicy, "priority", [1001, -1001, True, 1.5, "3", None]),
    (
        InvalidParameter,
        "params",
        [{"regio": "US"}, {"region": math.nan}, {1: 2}, {"region": 10**99}],
    ),
    (DeclarationError, "params", ["region", [("region", "US")], 5]),
    (DeclarationError, "tags", ["etl", {"etl"}, 5, None]),
    (InvalidName, "tags", [["a b"], [""], [5], [None], ["a/b"]]),
    (DeclarationError, "env", [{"RAYSCHED_X": "1"}, {"RAY_X": "1"}, {"A": 1}, {1: "a"}, "A=1"]),
    (DeclarationError, "env", [{"A=B": "1"}, {"": "1"}, {"A": "a\0"}, {"A": "\ud800"}, {"1A": ""}]),
    (DeclarationError, "runtime_env", [{"container": {}}, {"image_uri": "x"}, "pip", 5]),
    (DeclarationError, "runtime_env", [{"pipp": ["x"]}, {"pip": [], "Pip": []}, {1: 2}, {"": 1}]),
    (InvalidParameter, "runtime_env", [{"pip": {"a"}}, {"env_vars": {1: 2}}, {"pip": object()}]),
]


@pytest.mark.parametrize(
    ("error", "option", "bad"),
    [(error, option, bad) for error, option, each in REFUSED for bad in each],
    ids=lambda value: value if type(value) is str and len(value) < 20 and value.isalnum() else "",
)
def test_an_option_that_cannot_be_meant_is_refused_with_its_name(error, option, bad):
    with pytest.raises(error) as caught:
        job(**{option: bad})(daily)
    told = str(caught.value)
    assert type(caught.value) is error
    assert {"params": "param", "tags": "tag", "resources": "resource", "schedule": ""}.get(
        option, option
    ) in told
    assert caught.value.why
    assert caught.value.fix
    assert told.replace("\n", "").isprintable()


def test_a_placement_that_is_none_is_told_all_that_there_are():
    with pytest.raises(InvalidPolicy) as caught:
        job(placement="10.0.0.4")(daily)
    assert caught.value.why == 'the choices are "pack", "spread", "node:<id or ip>".'


def test_an_unknown_option_is_told_the_one_that_was_meant():
    with pytest.raises(DeclarationError, match="no option 'shedule'") as caught:
        job(shedule="@daily")(daily)
    assert "'schedule'" in caught.value.fix
    with pytest.raises(DeclarationError, match="no option 'zebra'") as caught:
        job(zebra=1)(daily)
    assert caught.value.fix == "remove it."


def needy(region, year):
    """Need two parameters."""


def test_a_job_with_a_schedule_has_all_that_its_function_needs():
    job(params={"region": "EU"})(needy)
    job(schedule="@daily", params={"region": "EU", "year": 1})(needy)
    with pytest.raises(InvalidParameter, match="needs the parameter 'year'"):
        job(schedule="@daily", params={"region": "EU"})(needy)


def test_a_loader_variable_is_the_users_own_business():
    # A job runs the user's own code: what it preloads gives nobody a right it lacks.
    assert job(env={"LD_PRELOAD": "/usr/lib/libjemalloc.so"})(daily).spec.env


def test_what_a_user_changes_later_changes_no_job():
    params, tags, env = {"region": ["EU"]}, ["etl"], {"A": "1"}
    declared = job(params=params, tags=tags, env=env)(daily)
    before = declared.spec.to_json()
    params["region"].append("US")
    tags.append("more")
    env["B"] = "2"
    assert declared.spec.to_json() == before


def test_a_description_is_text_that_can_be_stored():
    def odd():
        """Say."""

    odd.__doc__ = "lone \ud800 surrogate\n\nmore"
    assert job(odd).spec.description == "lone ? surrogate"
    odd.__doc__ = 5
    assert job(odd).spec.description == ""


# ------------------------------------------------------------------ JSON and versions

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
NAMES = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}", fullmatch=True)
LENGTHS = st.timedeltas(timedelta(microseconds=1), timedelta(days=36_500))
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
SCHEDULES = st.one_of(
    st.sampled_from(["@daily", "H H * * *", "*/5 8-18 * * MON-FRI"]),
    st.builds(
        every,
        st.timedeltas(timedelta(milliseconds=100), timedelta(days=99)),
        start=st.none() | INSTANTS,
        jitter=st.none() | LENGTHS,
    ),
    st.builds(
        cron,
        st.sampled_from(["0 6 * * *", "0 0 L * *"]),
        timezone=st.none() | st.sampled_from(["UTC", "Asia/Tokyo"]),
        end=st.none() | INSTANTS,
    ),
    st.builds(lambda s: cron(s, seconds=True), st.just("*/10 * * * * *")),
    st.builds(after_end, LENGTHS, start=st.none() | INSTANTS),
    st.builds(at, INSTANTS),
)
DECLARED = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "schedule": SCHEDULES | st.lists(SCHEDULES, max_size=3),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
        "num_cpus": st.integers(0, 64) | st.integers(0, 10_000).map(lambda n: n / 10_000),
        "num_gpus": st.integers(0, 8) | st.sampled_from([0.25, 0.5, 1.0]),
        "memory": st.integers(0, 2**62) | st.sampled_from(["2GiB", "1.5GB"]),
        "resources": st.dictionaries(NAMES.map("x".__add__), st.integers(0, 9), max_size=3),
        "placement": st.sampled_from(["pack", "spread", "node:10.0.0.4", Placement.SPREAD]),
        "label_selector": st.dictionaries(TEXT, TEXT, max_size=2),
        "retries": st.integers(0, 1000)
        | st.builds(
            Retry,
            st.integers(0, 1000),
            delay=LENGTHS,
            backoff=st.floats(1, 100) | st.integers(1, 100),
            max_delay=LENGTHS,
        ),
        "timeout": st.none() | LENGTHS,
        "queue_timeout": st.none() | LENGTHS,
        "overlap": st.sampled_from(Overlap) | st.sampled_from(Overlap).map(str),
        "catchup": st.sampled_from(Catchup),
        "max_catchup": st.integers(1, 1000),
        "misfire_grace": st.none() | LENGTHS,
        "max_active": st.none() | st.integers(1, 99),
        "params": st.fixed_dictionaries(
            {}, optional={"region": st.recursive(TEXT, st.lists, max_leaves=4)}
        ),
        "tags": st.lists(NAMES, max_size=3),
        "priority": st.integers(-1000, 1000),
        "runtime_env": st.dictionaries(st.sampled_from(["pip", "env_vars"]), TEXT),
        "env": st.dictionaries(
            NAMES.map("E_".__add__).filter(lambda n: "-" not in n), TEXT, max_size=2
        ),
    },
)


@settings(max_examples=200, deadline=None)
@given(DECLARED)
def test_a_definition_comes_back_from_json_as_itself(declared):
    spec = job(**declared)(daily).spec
    back = spec_from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert back.version("code") == spec.version("code")
    assert spec == job(**dict(reversed(declared.items())))(daily).spec


# ------------------------------------------------------------------ Ray's runtime environment


def test_a_misspelt_key_of_the_runtime_environment_is_told_from_those_that_there_are():
    with pytest.raises(DeclarationError, match="runtime_env has no key 'pipp'") as caught:
        job(runtime_env={"env_vars": {}, "pipp": ["x"]})(daily)
    assert caught.value.fix == "write 'pip' if that is meant."
    assert "conda, config, env_vars, " in caught.value.why
    assert "container" not in caught.value.why


BESIDE_RAY = """
import sys
from inspect import getfullargspec
from raysched.spec.environment import keys_of_ray, worker_environment

keys = keys_of_ray()
assert "ray" not in sys.modules

from ray.runtime_env import RuntimeEnv

named = getfullargspec(RuntimeEnv.__init__).kwonlyargs
assert set(keys) == RuntimeEnv.known_fields.union(named) - {"_validate"}, keys
made = RuntimeEnv(pip=["x"], nsight="default", env_vars={"A": "1"})
assert worker_environment(made) == dict(made)
"""


def test_the_keys_of_the_runtime_environment_are_those_that_ray_has():
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_RAY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_where_plugins_bring_keys_of_their_own_none_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_RUNTIME_ENV_PLUGINS", '[{"class": "acme.Plugin"}]')
    assert job(runtime_env={"acme": 1})(daily).spec.runtime_env == {"acme": 1}


CHANGED = {
    "name": "other",
    "schedule": "@hourly",
    "timezone": "Europe/Berlin",
    "num_cpus": 2,
    "num_gpus": 1,
    "memory": 1,
    "resources": {"ssd": 1},
    "placement": "spread",
    "label_selector": {"zone": "a"},
    "retries": 1,
    "timeout": "1m",
    "queue_timeout": "1m",
    "overlap": "queue",
    "catchup": "all",
    "max_catchup": 7,
    "misfire_grace": "1m",
    "max_active": 2,
    "params": {"region": "US"},
    "tags": ["etl"],
    "priority": 1,
    "runtime_env": {"pip": ["x"]},
    "env": {"A": "1"},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_version(option):
    before, after = job(daily).spec, job(**{option: CHANGED[option]})(daily).spec
    assert before != after
    assert before.version("code") != after.version("code")
    assert after.version("code") != after.version("other code")


def test_every_part_of_a_retry_policy_a_schedule_and_the_function_changes_the_version():
    def other(region="EU", more=1):
        """Report the delays of a day."""

    specs = [
        job(daily).spec,
        job(name="daily")(other).spec,
        replace(job(daily).spec, description="Another."),
        *(
            job(retries=retry)(daily).spec
            for retry in (Retry(1), Retry(1, "1s"), Retry(1, backoff=2), Retry(1, max_delay="1s"))
        ),
        *(
            job(schedule=each)(daily).spec
            for each in (
                every("1m"),
                every("2m"),
                every("1m", jitter="5s"),
                every("1m", start="2026-01-01T00:00Z"),
                every("1m", end="2026-01-01T00:00Z"),
                after_end("1m"),
                at("2026-01-01T00:00Z"),
                cron("* * * * *"),
                cron("* * * * *", timezone="Asia/Tokyo"),
                cron("0 * * * * *", seconds=True),
            )
        ),
    ]
    assert len({spec.version("code") for spec in specs}) == len(specs)


def test_one_demand_written_in_two_ways_is_one_version():
    first = job(num_cpus=1, retries=Retry(1, "60s", 2), resources={"a": 1, "b": 2})(daily).spec
    second = job(num_cpus=1.0, retries=Retry(1, "1m", 2.0), resources={"b": 2.0, "a": 1})(
        daily
    ).spec
    assert first == second
    assert first.version("code") == second.version("code")


_ELSEWHERE = """
from raysched.spec.job import job
from raysched.spec.schedules import every
def daily(region="EU"): "Report."
declared = job(
    schedule=["H H * * *", every("1h", jitter="30m")],
    tags=["b", "a"],
    params={"region": {"b": 1, "a": 2}},
    resources={"x": 1, "y": 2},
    env={"B": "1", "A": "2"},
)
print(declared(daily).spec.version("c"))
"""


def test_the_version_is_the_same_in_every_process():
    versions = {
        subprocess.run(
            [sys.executable, "-c", _ELSEWHERE],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(versions) == 1
    assert len(versions.pop().strip()) == 12
