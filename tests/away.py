"""A second machine, as far as files go: a Ray node in a mount namespace that hides the home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

RESOURCE = "away"
"""What only the node away offers: a job that asks for it runs there."""

_HIDE = 'mount --make-rprivate / && mount -t tmpfs hidden "$0" && exec "$@"'


def obstacle() -> str | None:
    """Why no mount namespace can be made here, or None."""
    hidden = ["unshare", "--mount", "sh", "-c", _HIDE, "/mnt", "true"]
    if shutil.which("unshare"):
        made = subprocess.run(hidden, check=False, capture_output=True)
        return None if made.returncode == 0 else "a mount namespace needs root"
    return "unshare is not installed"


def require() -> None:
    """Skip the test where there can be no namespace; fail in CI."""
    if reason := obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


class Away:
    """A node of a running local Ray that sees an empty folder in the place of the home."""

    def __init__(self, home: Path, folder: Path, *, num_cpus: int = 2) -> None:
        from raysched.cluster import local, token

        record = local.find(home)
        assert record
        self._home = home
        copy = folder / "token"
        shutil.copyfile(record.token_path, copy)
        copy.chmod(0o600)
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "RAYSCHED_HOME"},
            **token.environment(str(copy)),
            "RAY_ADDRESS": record.address,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        self._log = folder / "node.log"
        ray = Path(sys.executable).with_name("ray")
        command = [str(ray), "start", "--block", f"--address={record.address}"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        command += [f"--num-cpus={num_cpus}", f'--resources={{"{RESOURCE}": 100}}']
        with self._log.open("wb") as log:
            self._node = subprocess.Popen(
                self._hidden(command), env=self.env, stdout=log, stderr=log
            )

    def python(self, program: str) -> str:
        """Run a Python program as a user of that machine, and return what it prints."""
        return self.command(sys.executable, "-c", program)

    def command(self, *command: str) -> str:
        """Run a command as a user of that machine, and return what it prints."""
        done = subprocess.run(
            self._hidden(list(command)),
            check=False,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> None:
        """End the node with all its processes."""
        supervisor = psutil.Process(self._node.pid)
        tree = supervisor.children(recursive=True)
        for process in [*sorted(tree, key=lambda it: it.name() != "raylet"), supervisor]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._node.wait()

    def _hidden(self, command: list[str]) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _HIDE, str(self._home), *command]
