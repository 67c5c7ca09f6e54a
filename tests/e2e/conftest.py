"""What the tests from end to end share."""

from postgres_server import postgres_server, postgres_url  # noqa: F401 - fixtures
