"""Where a home's state is said to be, and what of that may be shown."""

import pytest

from raysched.errors import Conflict, StoreError
from raysched.store import whereabouts
from raysched.store.database import Database, speaking

URL = "postgresql://me:secret@db/x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://***@db/x"),
        ("postgresql://me@db/x", "postgresql://***@db/x"),
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://db/x?user=me&password=secret", "postgresql://db/x?***"),
        ("postgresql://me@db/x?password=secret", "postgresql://***@db/x?***"),
        ("postgresql://db/x?password=two@secret", "postgresql://***"),
        ("postgresql://me:what?secret@db/x", "postgresql://***"),
        ("postgresql://me:two@secret@db/x", "postgresql://***@db/x"),
        ("/srv/a@b/state?.db", "/srv/a@b/state?.db"),
    ],
)
def test_a_url_is_shown_without_what_logs_in(url, shown):
    assert whereabouts.without_password(url) == shown


def test_an_error_of_a_database_shows_no_password():
    database = Database("postgresql://me:secret@db/x?sslpassword=secret&password=secret")
    with pytest.raises(StoreError) as told, speaking("it fails.", database.name, OSError):
        raise OSError("no such server")
    assert "@db/x?***: no such server" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_state_in_a_database_is_to_be_named(tmp_path):
    whereabouts.check_named(tmp_path, None)
    whereabouts.note(tmp_path, URL)
    whereabouts.check_named(tmp_path, "postgresql://elsewhere/x")
    with pytest.raises(Conflict) as told:
        whereabouts.check_named(tmp_path, None)
    assert "secret" not in str(told.value)
    (tmp_path / whereabouts.NOTE).unlink()
    whereabouts.check_named(tmp_path, None)
