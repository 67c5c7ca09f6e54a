"""The node's container engine: the only module that talks to it.

One client for each process, whose connections stay open. A call gives an answer, or
raises one of `faults`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import docker
import docker.errors
import docker.utils
import requests

from raysched.errors import EngineUnavailable
from raysched.runners.container.events import Witness
from raysched.runners.container.faults import Absent, Away, Quiet, Refused, speaking
from raysched.runners.container.stream import Stream

_ANSWER_S = 120
_PART_BYTES = 1 << 16
_PIDFILE = Path("/var/run/docker.pid")


class Engine:
    """One engine, reached over the socket that `DOCKER_HOST` names."""

    def __init__(self, client: docker.APIClient, socket_path: str | None) -> None:
        self._client = client
        self.socket_path = socket_path
        self._root = f"{client.base_url}/v{client.api_version}"
        self._digests: dict[tuple[str, str], str] = {}
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
        with speaking():
            config = self._client.create_host_config(**host)
            made = self._client.create_container(name=name, host_config=config, **options)
            return str(made["Id"])

    def start(self, container: str) -> None:
        """Start a container."""
        with speaking():
            self._client.start(container)

    def inspect(self, container: str) -> dict[str, Any]:
        """Return all that the engine knows of a container."""
        with speaking():
            found: dict[str, Any] = self._client.inspect_container(container)
            return found

    def stop(self, container: str, grace_s: float) -> None:
        """Send SIGTERM, then SIGKILL to a container that is still running after `grace_s`."""
        with speaking():
            self._client.stop(container, timeout=max(0, round(grace_s)))

    def remove(self, container: str) -> None:
        """Remove a container, running or not, if there is one."""
        with suppress(Absent), speaking():
            try:
                self._client.remove_container(container, force=True, v=True)
            except docker.errors.APIError as error:
                if "already in progress" not in str(error.explanation):
                    raise

    def labelled(self, label: str) -> list[dict[str, Any]]:
        """Return all containers that bear a label."""
        with speaking():
            found: list[dict[str, Any]] = self._client.containers(
                all=True, filters={"label": [label]}
            )
            return found

    # Files

    def put(self, container: str, folder: str, archive: bytes) -> None:
        """Unpack a tar in a folder of a container, as root of the node."""
        with speaking():
            self._client.put_archive(container, folder, archive)

    def copy(self, container: str, path: str, to: BinaryIO) -> None:
        """Write what a regular file of a container holds to an open one.

        Raises:
            OSError: the open one does not take it.
        """
        request = self.stream(
            "GET",
            f"/containers/{container}/archive",
            params={"path": path},
            headers={"Accept-Encoding": "identity"},
            quiet_s=_ANSWER_S,
        )
        with request as answer:
            for part in _content(answer.raw):
                to.write(part)

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
        with speaking():
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
        with speaking():
            found: dict[str, Any] = self._client.inspect_image(reference)
            return found

    def remove_image(self, reference: str) -> None:
        """Remove an image that nothing uses, and the untagged ones that it was made of."""
        with speaking():
            self._client.remove_image(reference)

    def digest(self, image_id: str, reference: str) -> str:
        """Return by which digest a registry knows an image, or else its id."""
        name = docker.utils.parse_repository_tag(reference)[0]
        if (image_id, name) not in self._digests:
            try:
                known = self.image(image_id).get("RepoDigests") or []
            except (Absent, Refused, Away, Quiet):
                return image_id
            known.sort(key=lambda digest: digest.partition("@")[0] != name)
            self._digests[image_id, name] = known[0] if known else image_id
        return self._digests[image_id, name]

    # The engine itself

    def info(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        with speaking():
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


def _content(archive: Any) -> Iterator[bytes]:
    """Yield what an archive's one file holds, if it is a regular one."""
    with speaking(), tarfile.open(fileobj=archive, mode="r|") as tar:
        entry = tar.next()
        content = tar.extractfile(entry) if entry and entry.isfile() else None
        while content and (part := content.read(_PART_BYTES)):
            yield part


@lru_cache(maxsize=4)
def _engine(_pid: int, host: str | None) -> Engine:
    settings = docker.utils.kwargs_from_env()
    url = settings.get("base_url") or "unix:///var/run/docker.sock"
    path = "/" + url.partition("://")[2].lstrip("/") if "unix://" in url else None
    try:
        client = docker.APIClient(
            version="auto", timeout=_ANSWER_S, **{**settings, "base_url": url}
        )
        # Requests reads the whole environment for a proxy at each call; to a socket none leads.
        client.trust_env = path is None
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
