"""The node's container engine: the only module that talks to it, and its words for faults.

One client for each process, whose connections stay open. A call either gives an
answer, or raises that the engine is away (`Away`, which a watcher waits out), that
the thing is not there (`Absent`), or that the engine refuses (`Refused`).
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import docker.utils
import requests
import urllib3.exceptions

from raysched.errors import EngineLost, EngineUnavailable
from raysched.runners.container.events import Witness

_ANSWER_S = 120
_AWAY_S = float(os.environ.get("RAYSCHED_ENGINE_PATIENCE_S", "60"))
_PIDFILE = Path("/var/run/docker.pid")
_T = TypeVar("_T")


class Away(Exception):
    """Raised when the engine does not answer, or a stream of it breaks."""


class Quiet(Exception):
    """Raised when a stream has had nothing to say for as long as it was given."""


class Absent(Exception):
    """Raised when the engine knows no such container or image."""


class Refused(Exception):
    """Raised when the engine refuses a request; its words are the text.

    `unwell` says that the request was in order, as far as the engine can tell.
    """

    unwell = False


class NameTaken(Refused):
    """Raised when there is a container of that name already."""


class Engine:
    """One engine, reached over the socket that `DOCKER_HOST` names."""

    def __init__(self, client: docker.APIClient, socket_path: str | None) -> None:
        self._client = client
        self.socket_path = socket_path
        self._root = f"{client.base_url}/v{client.api_version}"
        self._digests: dict[str, str] = {}
        self._launched_by: tuple[str | None, Witness] | None = None
        self.cpus = int(self.info()["NCPU"])

    @classmethod
    def here(cls) -> Engine:
        """Return this process's engine.

        Raises:
            EngineUnavailable: it cannot be reached; names the node and why.
        """
        return _engine(os.getpid(), os.environ.get("DOCKER_HOST"))

    # Containers

    def create(self, name: str, options: Mapping[str, Any], host: Mapping[str, Any]) -> str:
        """Create a container and return its id."""
        with _speaking():
            config = self._client.create_host_config(**host)
            made = self._client.create_container(name=name, host_config=config, **options)
            return str(made["Id"])

    def start(self, container: str) -> None:
        """Start a container."""
        with _speaking():
            self._client.start(container)

    def inspect(self, container: str) -> dict[str, Any]:
        """Return all that the engine knows of a container."""
        with _speaking():
            found: dict[str, Any] = self._client.inspect_container(container)
            return found

    def stop(self, container: str, grace_s: float) -> None:
        """Send SIGTERM, then SIGKILL to a container that is still running after `grace_s`."""
        with _speaking():
            self._client.stop(container, timeout=max(0, round(grace_s)))

    def remove(self, container: str) -> None:
        """Remove a container, running or not, if there is one."""
        with suppress(Absent), _speaking():
            try:
                self._client.remove_container(container, force=True, v=True)
            except docker.errors.APIError as error:
                if "already in progress" not in str(error.explanation):
                    raise

    def labelled(self, label: str) -> list[dict[str, Any]]:
        """Return all containers that bear a label."""
        with _speaking():
            found: list[dict[str, Any]] = self._client.containers(
                all=True, filters={"label": [label]}
            )
            return found

    # Streams

    def events(
        self, container: str, since: str, *, until: str | None = None, quiet_s: float
    ) -> Iterator[dict[str, Any]]:
        """Yield a container's events since an instant; those to come as well, without `until`."""
        params = {"since": since, "filters": json.dumps({"container": [container]})}
        if until is not None:
            params["until"] = until
        with self.stream("GET", "/events", params=params, quiet_s=quiet_s) as stream:
            yield from stream.objects()

    def logs(self, container: str, since_ns: int, *, follow: bool, quiet_s: float) -> Stream:
        """Open a container's log from an instant on, as frames."""
        params = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "since": f"{since_ns // 10**9}.{since_ns % 10**9:09d}",
        }
        return self.stream("GET", f"/containers/{container}/logs", params=params, quiet_s=quiet_s)

    def stream(self, method: str, path: str, *, quiet_s: float, **request: Any) -> Stream:
        """Open an answer that comes in pieces."""
        with _speaking():
            answer = self._client.request(
                method, self._root + path, stream=True, timeout=(_ANSWER_S, quiet_s), **request
            )
            if answer.status_code >= 400:
                docker.errors.create_api_error_from_http_exception(
                    requests.exceptions.HTTPError(answer.reason, response=answer)
                )
            return Stream(answer)

    # Images

    def image(self, reference: str) -> dict[str, Any]:
        """Return what the engine knows of an image."""
        with _speaking():
            found: dict[str, Any] = self._client.inspect_image(reference)
            return found

    def remove_image(self, reference: str) -> None:
        """Remove an image that nothing uses, and the untagged ones that it was made of."""
        with _speaking():
            self._client.remove_image(reference)

    def digest(self, image_id: str, reference: str) -> str:
        """Return by which digest a registry knows an image, or else its id."""
        if image_id not in self._digests:
            try:
                known = self.image(image_id).get("RepoDigests") or []
            except (Absent, Refused, Away, Quiet):
                return image_id
            name = docker.utils.parse_repository_tag(reference)[0]
            known.sort(key=lambda digest: digest.partition("@")[0] != name)
            self._digests[image_id] = known[0] if known else image_id
        return self._digests[image_id]

    # The engine itself

    def info(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        with _speaking():
            found: dict[str, Any] = self._client.info()
            return found

    def witness(self) -> Witness:
        """Return which engine this is; asks it only when it is another than before."""
        identity = self._identity()
        if identity is None or self._launched_by is None or self._launched_by[0] != identity:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            restore = bool(self.info().get("LiveRestoreEnabled"))
            self._launched_by = identity, Witness(engine=identity, boot=boot, live_restore=restore)
        return self._launched_by[1]

    def _identity(self) -> str | None:
        """Return the process behind the socket: its id, and when it started."""
        try:
            if self.socket_path is None:
                return None
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(5)
                peer.connect(self.socket_path)
                credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid = struct.unpack("iII", credentials)[0]
            if pid <= 1:  # the socket is systemd's, or of another pid namespace
                pid = int(_PIDFILE.read_text())
            stat = Path(f"/proc/{pid}/stat").read_text()
            return f"{pid}:{stat.rpartition(')')[2].split()[19]}"
        except (OSError, ValueError):
            return None


class Stream:
    """An answer that comes in pieces; `abort` ends it from any thread."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.raw = answer.raw

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield bytes as they come, to the stream's proper end.

        Raises:
            Away: it broke before that.
            Quiet: nothing came for too long.
        """
        with _speaking():
            yield from self.raw.stream(1 << 16)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of which the stream has one a line."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if rest.strip():
            yield json.loads(rest)

    def abort(self) -> None:
        """Wake who reads from the stream; it ends for him as a broken one."""
        with (
            suppress(OSError, ValueError, AttributeError),
            socket.socket(fileno=os.dup(self.raw.fileno())) as peer,
        ):
            peer.shutdown(socket.SHUT_RDWR)


def patiently(call: Callable[[], _T], patience_s: float | None = None) -> _T:
    """Return what a call answers, for which an engine that is away may come back.

    Raises:
        EngineLost: it stayed away.
    """
    patience, pause = _AWAY_S if patience_s is None else patience_s, 0.05
    end = time.monotonic() + patience
    while True:
        try:
            return call()
        except Away as error:
            if time.monotonic() >= end:
                raise EngineLost(
                    f"the container engine of node {socket.gethostname()} went away.",
                    why=f"it did not come back within {patience:g} s: {error}",
                    fix="start it again; a retry runs the job anew.",
                ) from error
            time.sleep(pause)
            pause = min(1.0, pause * 2)


@contextmanager
def _speaking() -> Iterator[None]:
    """Turn whatever the client raises into this module's few words."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise Absent(_words(error)) from error
    except docker.errors.APIError as error:
        if error.status_code == 409 and "is already in use" in _words(error):
            raise NameTaken(_words(error)) from error
        refusal = Refused(_words(error))
        refusal.unwell = (error.status_code or 0) >= 500
        raise refusal from error
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise Quiet(str(error)) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if "Read timed out" in str(error):
            raise Quiet(str(error)) from error
        raise Away(f"{type(error).__name__}: {error}"[:300]) from error


def _words(error: docker.errors.APIError) -> str:
    return str(error.explanation or error).strip()[:2000]


@lru_cache(maxsize=4)
def _engine(_pid: int, host: str | None) -> Engine:
    settings = docker.utils.kwargs_from_env()
    url = settings.get("base_url") or "unix:///var/run/docker.sock"
    path = "/" + url.partition("://")[2].lstrip("/") if "unix://" in url else None
    try:
        client = docker.APIClient(
            version="auto", timeout=_ANSWER_S, **{**settings, "base_url": url}
        )
        return Engine(client, path)
    except (docker.errors.DockerException, Away, Refused, Quiet) as error:
        raise EngineUnavailable(
            f"the container engine of node {socket.gethostname()} cannot be reached.",
            why=_obstacle(path, url, error),
            fix="install and start Docker there, or set DOCKER_HOST for Ray's workers.",
        ) from error


def _obstacle(path: str | None, url: str, error: BaseException) -> str:
    if path is None:
        return f"{url}: {str(error)[:300]}"
    if not os.path.exists(path):
        return f"there is no socket {path}."
    if not os.access(path, os.R_OK | os.W_OK):
        return f"user {os.getuid()} may not use {path}; is it in the group docker?"
    return f"nobody answers at {path}: {str(error)[:200]}"
