"""What the tests of contracts share: a clock, a home with two jobs deployed, a PostgreSQL."""

from __future__ import annotations

import pytest
from samples import TICK, TOCK, deployed

from postgres_server import postgres_server, postgres_url  # noqa: F401 - fixtures
from raysched.store.history import History
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def home(tmp_path):
    History(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def store(home, clock):
    store = SqlStore(home / "state.db", clock)
    store.open()
    store.commit(deployed(TICK, TOCK))
    yield store
    store.close()
