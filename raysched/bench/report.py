"""What a benchmark prints: figures with their targets, and where the processor time went."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure; `met` says whether it meets its target, None if it has none."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


def quantile(values: Sequence[float], q: float) -> float:
    """Return the `q` quantile of some values, the nearest of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def environment() -> str:
    """Return the machine and the versions that the figures belong to."""
    import pyarrow as pa
    import ray

    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, Ray {ray.__version__}, pyarrow {pa.__version__}; "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )


def render(name: str, figures: Sequence[Figure]) -> str:
    """Return a benchmark's figures as lines of text."""
    width = max(len(figure.name) for figure in figures)
    lines = [f"\n{name}"]
    for figure in figures:
        verdict = "" if figure.met is None else f"  {'met' if figure.met else 'MISSED'}"
        target = f"  (target {figure.target})" if figure.target else ""
        lines.append(f"  {figure.name:<{width}}  {figure.value}{target}{verdict}")
    return "\n".join(lines)


_ROLES: dict[str, Callable[[str], bool]] = {
    "scheduler": lambda line: "ray::Scheduler" in line,
    "launcher": lambda line: "ray::Launcher" in line,
    "workers": lambda line: "ray::" in line,
    "raylet": lambda line: "raylet/raylet" in line,
    "gcs": lambda line: "gcs_server" in line,
    "guards": lambda line: "/runners/guard" in line,
}


def processor_seconds() -> dict[str, float]:
    """Return the processor seconds used so far, by role of the process."""
    used: dict[str, float] = defaultdict(float)
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        line = " ".join(process.info["cmdline"] or ())
        role = next((role for role, fits in _ROLES.items() if fits(line)), None)
        if role or process.pid == os.getpid():
            used[role or "client"] += sum(process.info["cpu_times"][:2])
    return used


def where(before: dict[str, float], after: dict[str, float], runs: int) -> str:
    """Return the processor time between two readings, by role, in ms a run."""
    spent = {role: (after[role] - before.get(role, 0)) / runs * 1000 for role in after}
    # A process that ended in between took its seconds with it: its role's are not known.
    known = {role: ms for role, ms in spent.items() if ms >= 0}
    parts = [f"{role} {ms:.2f}" for role, ms in sorted(known.items(), key=lambda item: -item[1])]
    parts += [f"{role} unknown" for role in spent if role not in known]
    return f"{sum(known.values()):.2f} = " + " + ".join(parts)
