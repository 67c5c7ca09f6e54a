"""An image registry for tests, Debian's, on the loopback interface; with or without a login."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import docker
import pytest

import docker_engine

PROGRAM = "docker-registry"


class Registry:
    """One registry that keeps its images in a folder; `address` is its part of their names."""

    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        self.address = "127.0.0.1:0"
        self._folder, self._login = folder, login
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if login is not None:
            (folder / "htpasswd").write_text(f"{login[0]}:{_bcrypt(login[1])}\n")

    def start(self) -> None:
        """Start it, on the port that it had before if it had one."""
        self._log.unlink(missing_ok=True)
        (self._folder / "config.yml").write_text(json.dumps(self._config()))  # JSON is YAML
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", self._folder / "config.yml"], stdout=log, stderr=log
            )
        end = time.monotonic() + 30
        while not (found := re.search(r"listening on (127[.\d]+:\d+)", self._log.read_text())):
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(self._log.read_text()[-4000:])
            time.sleep(0.02)
        self.address = found[1]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, client: docker.APIClient, name: str, tag: str, **config: object) -> str:
        """Push a changed copy of the base image, leave none here, and return its digest."""
        made = client.create_container(docker_engine.BASE, "true", **config)
        image = client.commit(made["Id"], f"{self.address}/{name}", tag)["Id"]
        client.remove_container(made["Id"])
        user, password = self._login or ("", "")
        login = {"username": user, "password": password} if self._login else None
        digest = ""
        for line in client.push(
            f"{self.address}/{name}", tag, stream=True, decode=True, auth_config=login
        ):
            assert "error" not in line, line
            digest = line.get("aux", {}).get("Digest", digest)
        client.remove_image(image, force=True)
        return digest

    def delete(self, name: str, digest: str) -> None:
        """Remove an image from the registry."""
        url = f"http://{self.address}/v2/{name}/manifests/{digest}"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE")):
            pass

    def forget(self, client: docker.APIClient) -> None:
        """Remove all of its images from an engine."""
        for image in client.images():
            for name in [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]:
                if name.startswith(self.address):
                    with suppress(docker.errors.NotFound):
                        client.remove_image(name, force=True)

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": str(self._folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
        }
        if self._login is not None:
            htpasswd = {"realm": "tests", "path": str(self._folder / "htpasswd")}
            config["auth"] = {"htpasswd": htpasswd}
        return config


def obstacle() -> str | None:
    """Why this machine cannot start a registry, if it cannot."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"


def none(reason: str) -> None:
    """Skip a test for want of a registry; in CI that is a failure."""
    message = f"there is no image registry: {reason}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _bcrypt(password: str) -> str:
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), b"$2b$04$" + b"a" * 21 + b"u").decode()
