"""The pytest plugin: fixtures, and nothing else. What they need is loaded when one is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from raysched.testing import FakeClock, LocalRunner, World


@pytest.fixture
def raysched_runner(request: pytest.FixtureRequest) -> LocalRunner:
    """Runs a job's code in this process: `raysched_runner.run(job, region="EU").result()`.

    A failed test shows what its runs wrote and how they ended.
    """
    from raysched.testing.runner import LocalRunner

    return LocalRunner(
        on_run=lambda run: request.node.add_report_section("call", "raysched", run.transcript())
    )


@pytest.fixture
def raysched_clock(raysched_runner: LocalRunner) -> FakeClock:
    """The virtual clock of `raysched_runner`, which stands still until it is moved."""
    return raysched_runner.clock


@pytest.fixture
def raysched_world() -> Callable[..., World]:
    """Makes virtual worlds: `world = raysched_world("2026-03-08T00:00Z", run_code=True)`."""
    from raysched.testing.world import World

    return World
