"""What the tests from end to end share, and how two workers share them."""

import pytest
from xdist.scheduler import LoadFileScheduling

from postgres_server import postgres_server, postgres_url  # noqa: F401 - fixtures

_LONGEST = "test_ray_up.py"
_ON_DOCKER = ("test_demo.py", "test_pages.py")


class _Sharing(LoadFileScheduling):
    """A file's tests, which are on one Ray, are one worker's, and so are all that use Docker.

    A test with hosts of its own is apart from all others.
    """

    def _split_scope(self, nodeid: str) -> str:
        if _LONGEST in nodeid:
            return nodeid
        return "docker" if any(file in nodeid for file in _ON_DOCKER) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Sharing:
    return _Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what takes longest begun first."""
    items.sort(key=lambda item: item.path.name != _LONGEST)
