"""What a container takes of its node: CPU time and peak memory, off its control group.

The group vanishes with the container, so that the last look at it counts; looks
become rarer as the container lasts. Where it cannot be read, nothing is known.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_FIRST_S, _MOST_S = 0.01, 1.0


class Meter(threading.Thread):
    """Looks at a container's control group until told to stop."""

    def __init__(self, container: str) -> None:
        super().__init__(daemon=True, name="raysched-usage")
        self.cpu_time_s: float | None = None
        self.peak_memory_bytes: int | None = None
        self._container = container
        self._over = threading.Event()

    def run(self) -> None:
        """Look, wait, look again."""
        pause, files = _FIRST_S, None
        while not self._over.wait(pause):
            pause = min(_MOST_S, pause * 2)
            files = files or next(_places(self._container), None)
            if files is not None and not self._look(*files):
                return

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def _look(self, cpu: Path, memory: Path) -> bool:
        try:
            text = cpu.read_text()
            peak = int(memory.read_text())
        except (OSError, ValueError):
            return False
        found = re.search(r"usage_usec (\d+)", text)
        self.cpu_time_s = int(found[1]) / 1e6 if found else int(text) / 1e9
        self.peak_memory_bytes = max(self.peak_memory_bytes or 0, peak)
        return True


def _places(container: str) -> Iterator[tuple[Path, Path]]:
    """Yield where the two files are: either version of control groups, either driver."""
    for group in (f"docker/{container}", f"system.slice/docker-{container}.scope"):
        first = (
            _ROOT / "cpuacct" / group / "cpuacct.usage",
            _ROOT / "memory" / group / "memory.max_usage_in_bytes",
        )
        second = _ROOT / group / "cpu.stat", _ROOT / group / "memory.peak"
        for cpu, memory in (first, second):
            if cpu.exists() and memory.exists():
                yield cpu, memory
