"""A PostgreSQL server of the tests' own: started once, on a socket, thrown away at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a private PostgreSQL server."""
    tools = _tools()
    if tools is None:
        reason = "PostgreSQL's server is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must test with it")
        pytest.skip(reason)
    folder = tempfile.mkdtemp(prefix="raysched-pg-", dir="/tmp")  # a socket's path is short
    as_owner = []
    if os.getuid() == 0:  # the server refuses to be root's
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]

    def tool(name, *options):
        command = [*as_owner, str(tools / name), "-D", f"{folder}/data", *options]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    tool("initdb", "-U", "raysched", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    # Its own durability is PostgreSQL's to test.
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    tool("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        yield f"postgresql://raysched@/postgres?host={folder}"
    finally:
        tool("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server):
    """The URL of an empty schema."""
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(postgres_server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{postgres_server}&options=-csearch_path%3D{name}"


def _tools():
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None
