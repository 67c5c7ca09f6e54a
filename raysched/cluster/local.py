"""A Ray of one's own on this machine, which outlives the process that started it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from raysched.cluster import token
from raysched.errors import ClusterError, NotRunning, StoreError

_RECORD = "ray.json"
_START_S = 60.0
_STOP_S = 10.0
# How often Ray asks idle workers to go (see `warm`): one that is being asked takes no task, and
# with Ray's 0.2 s one run in a hundred would wait for a new worker.
_SETTINGS = {"RAY_kill_idle_workers_interval_ms": "5000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRay:
    """A Ray that `start` has made: its address, its supervising process, its files."""

    address: str
    pid: int
    temp_dir: str
    token_path: str

    @property
    def alive(self) -> bool:
        """Whether the process is still there, and still the one of this Ray.

        It is known by its command line: a start time moves when the clock is set.
        """
        try:
            return _temp_dir_option(self.temp_dir) in psutil.Process(self.pid).cmdline()
        except psutil.Error:  # it is gone, a zombie, or another user's by now
            return False


def find(home: Path) -> LocalRay | None:
    """Return the Ray that was started for a home, if it is alive."""
    try:
        told = json.loads((home / _RECORD).read_text())
        # By name: an earlier version wrote down more.
        record = LocalRay(**{field.name: told[field.name] for field in fields(LocalRay)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if record.alive else None


def start(home: Path, *, num_cpus: int | None = None, num_gpus: int | None = None) -> LocalRay:
    """Start a Ray head that demands a token, and wait until it takes calls.

    Raises:
        ClusterError: it does not come up; says where its log is.
        StoreError: the home cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the home {home} cannot be made.",
            why=str(error),
            fix="name another with --home or RAYSCHED_HOME.",
        ) from error
    token_path = _new_token(home)
    temp_dir = _temp_dir()
    log = home / "ray.log"
    command = [
        ray_program(),
        "start",
        "--head",
        "--block",
        "--port=0",
        "--node-ip-address=127.0.0.1",
    ]
    command += ["--include-dashboard=false", "--disable-usage-stats", _temp_dir_option(temp_dir)]
    command += [f"--num-cpus={num_cpus}"] if num_cpus is not None else []
    command += [f"--num-gpus={num_gpus}"] if num_gpus is not None else []
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - Ray's own program, our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**_environment(), **token.environment(token_path)},
        )
    try:
        record = LocalRay(
            address=_wait_for_address(process, Path(temp_dir), log),
            pid=process.pid,
            temp_dir=temp_dir,
            token_path=token_path,
        )
        _write(home / _RECORD, record)
    except BaseException:  # also an interruption: without its record nobody could end it
        _end(psutil.Process(process.pid))
        _remove(temp_dir)
        raise
    return record


def stop(home: Path) -> None:
    """End the Ray that was started for a home, with all its processes, and none but them.

    Raises:
        NotRunning: none is.
    """
    record = find(home)
    if record is None:
        raise NotRunning(f"no Ray is running for {home}.", why="it has no record of a live one.")
    _end(psutil.Process(record.pid))
    (home / _RECORD).unlink(missing_ok=True)
    _remove(record.temp_dir)


def _end(supervisor: psutil.Process) -> None:
    """Kill a Ray, the raylet first, as that would start anew what else is killed.

    Asked politely it waits 20 s for the scheduler, which has no need of it: what was
    acknowledged is on disk.
    """
    with suppress(psutil.NoSuchProcess):
        tree = supervisor.children(recursive=True)
        for process in [*sorted(tree, key=lambda it: not _is_raylet(it)), supervisor]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([*tree, supervisor], timeout=_STOP_S)


def _is_raylet(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == "raylet")
    except psutil.NoSuchProcess:
        return False


def authenticate(record: LocalRay) -> None:
    """Make this process show the token of a Ray that `start` has made."""
    token.show_that_of(record.token_path)


def _new_token(home: Path) -> str:
    path = home / "ray.token"
    path.unlink(missing_ok=True)
    token.create(path)
    return str(path)


def ray_program() -> str:
    """Return the path of the `ray` command that belongs to this interpreter."""
    beside = Path(sys.executable).with_name("ray")
    return str(beside) if beside.exists() else shutil.which("ray") or "ray"


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**_SETTINGS, **inherited}


def _temp_dir() -> str:
    """Return a new short path: Ray puts Unix sockets deep below it, and those have 107 bytes.

    Ray opens its own folder to everybody; the one around it is this user's alone.
    """
    return str(Path(tempfile.mkdtemp(prefix="rs-ray-")) / "r")


def _temp_dir_option(temp_dir: str) -> str:
    return f"--temp-dir={temp_dir}"


def _remove(temp_dir: str) -> None:
    folder = Path(temp_dir)
    around = folder.parent if folder.parent.name.startswith("rs-ray-") else folder
    shutil.rmtree(around, ignore_errors=True)


def _wait_for_address(process: subprocess.Popen[bytes], temp_dir: Path, log: Path) -> str:
    current = temp_dir / "ray_current_cluster"
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            if address := current.read_text().strip():
                return address
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise ClusterError("Ray did not start.", why=tail or "it wrote nothing.", fix=f"look at {log}.")


def _write(path: Path, record: LocalRay) -> None:
    temp = path.with_name(f".{path.name}.tmp")
    temp.write_text(json.dumps(asdict(record)))
    os.replace(temp, path)
