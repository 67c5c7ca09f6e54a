"""A Docker engine for tests: found, or started; and base images without a registry.

`python tests/docker_engine.py start FOLDER` leaves one running on FOLDER/docker.sock,
`… stop FOLDER` ends it, and `… answers` tells whether there is one already.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NoReturn

import docker
import pytest

BASE = "busybox:1.35"


class Engine:
    """One private dockerd in a folder."""

    def __init__(self, folder: Path, *arguments: str, alone: bool = False) -> None:
        # Beside another engine, one without a bridge removes the other's: it shares no network.
        self._prefix = ["unshare", "--net"] if alone else []
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.address = f"unix://{self.socket}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._prefix,
                    "dockerd",
                    f"--host={self.address}",
                    f"--data-root={self.folder / 'data'}",
                    f"--exec-root={self.folder / 'exec'}",
                    f"--pidfile={self.folder / 'pid'}",
                    *self._arguments,
                    *more,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not answers(self.address):
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-4000:])
            time.sleep(0.1)

    def kill(self, sig: int) -> None:
        """Send dockerd a signal and wait until it is gone."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, sig)
        if self._process is not None:
            self._process.wait(60)
        else:
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.05)
        if sig == signal.SIGKILL:
            (self.folder / "pid").unlink(missing_ok=True)
            self._end_containerd()  # it dies with dockerd, but not before the next one looks

    def stop(self) -> None:
        if (self.folder / "pid").exists():
            self.kill(signal.SIGTERM)
        self._end_containerd()
        for _ in range(5):
            for mount in reversed(Path("/proc/mounts").read_text().splitlines()):
                at = mount.split()[1]
                if at.startswith(f"{self.folder}/"):
                    subprocess.run(["umount", "-l", at], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_containerd(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((self.folder / "exec" / "containerd" / "containerd.pid").read_text())
            for _ in range(100):
                os.kill(pid, signal.SIGTERM)
                time.sleep(0.05)


def answers(address: str | None = None) -> bool:
    try:
        client = docker.APIClient(
            base_url=address or os.environ.get("DOCKER_HOST"), version="auto", timeout=10
        )
        client.ping()
        client.close()
    except docker.errors.DockerException:
        return False
    return True


def obstacle() -> str | None:
    """Why this machine cannot start an engine, if it cannot."""
    for program in ("dockerd", "iptables", "busybox"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    return None if os.getuid() == 0 else "only root can start dockerd"


def none(reason: str) -> NoReturn:
    """Skip a test for want of an engine; in CI that is a failure."""
    message = f"there is no Docker engine: {reason}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def import_base(client: docker.APIClient, name: str = BASE) -> None:
    """Make a base image of this machine's static busybox."""
    repository, _, tag = name.partition(":")
    if client.images(name):
        return
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is not installed"
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in applets.stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("root", 0o700)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        users = b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
        info = tarfile.TarInfo("etc/passwd")
        info.size = len(users)
        tar.addfile(info, io.BytesIO(users))
    client.import_image_from_data(file.getvalue(), repository=repository, tag=tag)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["answers"]:
            sys.exit(0 if answers() else 1)
        case ["start", folder]:
            Engine(Path(folder)).start()
        case ["stop", folder]:
            Engine(Path(folder)).stop()
