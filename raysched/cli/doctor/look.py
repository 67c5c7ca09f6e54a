"""How the facts are gathered: the only part of an examination that touches the world.

Law: no look raises and none waits long; what stands in its way is the fact.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from raysched.cli.doctor.facts import (
    Cluster,
    Facts,
    Listener,
    Node,
    Place,
    Scheduler,
    Software,
    State,
    Token,
)
from raysched.errors import Conflict, RayschedError

if TYPE_CHECKING:
    from raysched.client import Client
    from raysched.cluster.local import LocalRay

_ANSWER_S = 5.0
_PORT_S = 2.0
_STATE_S = 5.0  # for reading the state database through
Look = Callable[[Facts, Path], Facts]


def software() -> Software:
    """Return the versions of this process."""
    from raysched.cluster.probe import versions

    return Software(**versions())


def place(facts: Facts, home: Path) -> Facts:
    """Try to write where the home is."""
    found = Place(path=str(home), exists=home.is_dir(), problem=_unwritable(home))
    if found.exists:
        with suppress(OSError):
            disk = shutil.disk_usage(home)
            found = replace(found, free_bytes=disk.free, total_bytes=disk.total)
    return replace(facts, place=found)


def _unwritable(home: Path) -> str | None:
    """Return why nothing can be written in the home, or where it would be made."""
    folder = home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    trial = folder / f".raysched-doctor-{os.getpid()}"
    try:
        trial.mkdir(mode=0o700)
        with (trial / "file").open("wb") as file:
            file.write(b"?" * 4096)
            os.fsync(file.fileno())
    except OSError as error:
        return f"nothing can be written in {folder}: {error.strerror}"
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return None


def state(facts: Facts, home: Path) -> Facts:
    """Read the embedded state database through."""
    path = home / "state.db"
    found = State(path=str(path), exists=path.exists())
    if found.exists:
        found = replace(found, problem=_damage(path), holders=tuple(_holders(path)))
    return replace(facts, state=found)


def _damage(path: Path) -> str | None:
    immutable = "" if os.path.exists(f"{path}-wal") else "&immutable=1"
    uri = f"file:{quote(str(path))}?mode=ro{immutable}"
    until = time.monotonic() + _STATE_S
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_PORT_S)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)
            (said,) = connection.execute("PRAGMA quick_check(3)").fetchone()
    except sqlite3.OperationalError as error:
        return None if "interrupted" in str(error) else str(error)
    except sqlite3.Error as error:
        return str(error)
    return None if said == "ok" else str(said)


def _holders(path: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(os.readlink(fd) == str(path) for fd in (process / "fd").iterdir()):
                yield int(process.name)


def engine(facts: Facts, home: Path) -> Facts:
    """Ask the container engine of this machine."""
    from raysched.cluster.probe import engine as ask

    answer, problem = ask()
    return replace(facts, engine=answer, engine_problem=problem)


def cluster(facts: Facts, home: Path) -> Facts:
    """Find the Ray that is meant, and see whether its port answers."""
    from raysched.cluster import local

    own, named = local.find(home), os.environ.get("RAY_ADDRESS")
    if named:
        found = Cluster(address=named, named_by="RAY_ADDRESS", problem=_port_problem(named))
        own = None
    elif own:
        found = Cluster(
            address=own.address, named_by="the home", problem=_port_problem(own.address)
        )
    elif (home / "ray.json").exists():
        found = Cluster(address="a Ray", named_by="the home", problem="it is not alive any more")
    else:
        found = Cluster(address=None, named_by=None)
    listeners = tuple(_listeners(own, named))
    found = replace(found, listeners=listeners, demands_token=_demands_token(own))
    return replace(facts, cluster=found, token=_token(own))


def _port_problem(address: str) -> str | None:
    if address == "auto":
        return None
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PORT_S).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _token(own: LocalRay | None) -> Token | None:
    path = own.token_path if own else os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = path or str(Path.home() / ".ray" / "auth_token")
    try:
        return Token(path=path, mode=stat.S_IMODE(os.stat(path).st_mode))
    except OSError:
        return Token(path=path, mode=None) if own else None


def _demands_token(own: LocalRay | None) -> bool | None:
    if own is None:
        return None
    with suppress(OSError):
        environment = Path(f"/proc/{own.pid}/environ").read_bytes().split(b"\0")
        return b"RAY_AUTH_MODE=token" in environment
    return None


def _listeners(own: LocalRay | None, named: str | None) -> Iterator[Listener]:
    import psutil

    pids, port = set[int](), None
    with suppress(psutil.Error):
        if own:
            tree = psutil.Process(own.pid)
            pids = {own.pid, *(child.pid for child in tree.children(recursive=True))}
    with suppress(ValueError):
        port = int(named.rpartition(":")[2]) if named else None
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and (each.pid in pids or each.laddr.port == port):
                yield Listener(
                    address=each.laddr.ip, port=each.laddr.port, process=_process(each.pid)
                )


def _process(pid: int | None) -> str:
    import psutil

    with suppress(psutil.Error):
        return str(psutil.Process(pid).name()) if pid else "a process"
    return "a process"


def scheduler(facts: Facts, home: Path) -> Facts:
    """Join the cluster and ask the scheduler about itself."""
    found = facts.cluster
    if found is None or found.address is None or found.problem:
        return facts
    from raysched.cluster.patience import hurry

    try:
        with hurry(_ANSWER_S):
            return replace(_joined(facts), scheduler=_asked(_client(home)))
    except RayschedError as error:
        return replace(
            _joined(facts), scheduler_problem=" ".join(filter(None, (error.what, error.why)))
        )
    except Exception as error:  # Ray raises what it likes
        said = " ".join(str(error).split())[:300]
        return replace(facts, cluster=replace(found, problem=f"{type(error).__name__}: {said}"))


def _client(home: Path) -> Client:
    from raysched.client import Client
    from raysched.client.connect import connect
    from raysched.cluster.handle import SchedulerHandle

    try:
        return connect(home, start=False)
    except Conflict:  # it has another home, which is a finding and no obstacle
        return Client(SchedulerHandle.find())


def _joined(facts: Facts) -> Facts:
    """Add what joining has shown: a Ray that let us in without a token demands none."""
    found = facts.cluster
    assert found
    if found.demands_token is None and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return replace(facts, cluster=replace(found, demands_token=False))
    return facts


def _asked(client: Client) -> Scheduler:
    before = time.time()
    told: dict[str, Any] = client.status()
    middle = (before + time.time()) / 2
    url = told.get("state_url")
    return Scheduler(
        epoch=told["epoch"],
        pid=told["pid"],
        node_id=told["node_id"],
        home=told["home"],
        launcher=told["launcher"],
        launcher_state=told.get("launcher_state"),
        database="PostgreSQL" if url and "postgres" in url.partition(":")[0] else None,
        software=Software(**told["versions"]) if "versions" in told else None,
        ahead_s=told["now"] - middle if "now" in told else None,
    )


def nodes(facts: Facts, home: Path) -> Facts:
    """Ask a process on every node."""
    if facts.scheduler is None and facts.scheduler_problem is None:
        return facts  # no cluster was joined
    from raysched.cluster.probe import ask_nodes

    told = ask_nodes(limit_s=4 * _ANSWER_S)
    return replace(
        facts,
        nodes=tuple(
            Node(
                name=each["name"],
                problem=each.get("problem"),
                software=Software(**each["versions"]) if "versions" in each else None,
                ahead_s=each.get("ahead_s"),
                engine=each.get("engine"),
                engine_problem=each.get("engine_problem"),
            )
            for each in told
        ),
    )
