"""The pytest plugin, as a user's test suite has it: in a pytest of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

JOBS = """
import raysched as rs

@rs.job(schedule="0 6 * * *", retries=1)
def load(region="EU"):
    print("loading", region)
    if region == "XX":
        raise ValueError("no such region")
    return {"region": region}
"""


@pytest.fixture
def project(pytester):
    """A project with a module of jobs; its pytest runs in a process of its own."""
    pytester.makepyfile(my_jobs=JOBS)
    pytester.syspathinsert()
    return pytester


def test_the_fixtures_are_there_without_being_imported(project):
    project.makepyfile("""
        from my_jobs import load

        def test_run(raysched_runner):
            assert raysched_runner.run(load, region="US").result() == {"region": "US"}
            assert "ray" not in __import__("sys").modules

        def test_clock(raysched_runner, raysched_clock):
            before = raysched_clock.now()
            raysched_runner.takes = "5m"
            raysched_runner.run(load)
            assert (raysched_clock.now() - before).total_seconds() == 300

        def test_world(raysched_world):
            world = raysched_world("2026-01-01T00:00Z", run_code=True)
            world.deploy(load)
            world.advance("2d")
            assert world.runs.status.tolist() == ["succeeded"] * 2
    """)
    project.runpytest_subprocess("--strict-markers", "-W", "error").assert_outcomes(passed=3)


def test_a_failed_test_shows_what_its_runs_wrote_and_how_they_ended(project):
    project.makepyfile("""
        from my_jobs import load

        def test_run(raysched_runner):
            run = raysched_runner.run(load, region="XX")
            assert run.status == "succeeded"
    """)
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*AssertionError: assert 'failed' == 'succeeded'",
            "*Captured raysched call*",
            "*<LocalRun load@*failed after 2 attempts: ValueError: no such region>",
            "loading XX",
            "*in load",
            "ValueError: no such region",
            "attempt 1 failed: ValueError: no such region",
            "attempt 2 failed: ValueError: no such region",
        ]
    )


def test_a_passed_test_shows_nothing(project):
    project.makepyfile("""
        from my_jobs import load

        def test_run(raysched_runner):
            raysched_runner.run(load)
    """)
    project.runpytest_subprocess("-s").stdout.no_fnmatch_line("*loading*")


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_output_is_kept_however_pytest_captures(project, capture):
    project.makepyfile("""
        import sys
        from my_jobs import load

        def test_run(raysched_runner):
            assert raysched_runner.run(load).output == "loading EU\\n"
            print("of the test")
            print("its errors", file=sys.stderr)
            assert False
    """)
    done = project.runpytest_subprocess(f"--capture={capture}")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*of the test*"])


def test_who_does_not_use_it_does_not_pay_for_it(project):
    project.makepyfile("""
        import sys

        def test_nothing_heavy_is_loaded():
            heavy = {"ray", "pandas", "pyarrow", "numpy", "sqlalchemy", "docker", "croniter"}
            assert not heavy & set(sys.modules)
            assert not [name for name in sys.modules if name.startswith("raysched.testing.")
                        and name != "raysched.testing.plugin"]
    """)
    project.runpytest_subprocess().assert_outcomes(passed=1)
    project.runpytest_subprocess("-p", "no:raysched").assert_outcomes(passed=1)
