"""What one attempt of a container job needs, and what came of it: frozen values.

No Docker, no files, no policy: whether an ending is a success is for the caller.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from raysched.runners.words import Verdict
from raysched.spec.container import Container

OUT = "/raysched/out"
SECRETS = "/run/secrets"
IMAGES = ".images"
"""The folder beside the rooms with what is known of images, and their locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Everything that one attempt needs; `slot` is ISO text, `context` a tar or empty."""

    home: str
    key: str
    run_id: str
    attempt: int
    job: str
    slot: str | None
    params: Mapping[str, Any]
    env: Mapping[str, str]
    container: Container
    context: bytes
    code_hash: str
    num_cpus: float
    memory_bytes: int | None
    gpu_ids: tuple[str, ...]
    timeout_s: float | None
    log_limit_bytes: int

    @property
    def name(self) -> str:
        """The name of this attempt's container and room."""
        return name_of(self.home, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What came of an attempt, by fact.

    `fault` is empty if the container ran to its own end or to ours (`verdict`); else it
    says why there is no outcome to trust. `lost` says that nobody knows what became of it.
    """

    exit_code: int | None = None
    oom: bool = False
    verdict: Verdict | None = None
    fault: str = ""
    lost: bool = False
    error_type: str | None = None
    started_at: datetime | None = None
    finished_at: datetime
    cpu_time_s: float | None = None
    peak_memory_bytes: int | None = None
    image: str | None = None
    results: tuple[Path, ...] = ()


def name_of(home: str, key: str) -> str:
    """Return the name by which a node knows an attempt; home and key may hold anything."""
    identity = json.dumps([home, key]).encode()
    return f"raysched-{hashlib.sha256(identity).hexdigest()[:32]}"
