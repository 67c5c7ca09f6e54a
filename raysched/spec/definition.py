"""A job's definition as a frozen value, and its JSON form.

It is the part of a declared job that the scheduler needs: no code, and nothing of
the machine that declared it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from sys import intern
from typing import Any

from raysched.spec.container import Container, container_from_json
from raysched.spec.parameters import Signature
from raysched.spec.policies import Catchup, Overlap, Placement, Retry, duration_of
from raysched.spec.resources import Resources
from raysched.spec.schedules import AfterEnd, Schedule, schedule_from_json
from raysched.spec.units import MICROSECOND, span, us

LONGEST_DESCRIPTION = 1000
"""Characters that a job's description may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job's definition without its code: when it runs, with what, and under which policies."""

    name: str
    schedules: tuple[Schedule, ...] = ()
    timezone: str = "UTC"
    resources: Resources = field(default_factory=Resources)
    placement: str = Placement.PACK
    label_selector: Mapping[str, str] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    timeout: timedelta | None = None
    queue_timeout: timedelta | None = None
    overlap: Overlap = Overlap.SKIP
    catchup: Catchup = Catchup.LATEST
    max_catchup: int = 100
    misfire_grace: timedelta | None = None
    max_active: int | None = None
    signature: Signature = field(default_factory=Signature)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    priority: int = 0
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    container: Container | None = None

    @property
    def limit(self) -> int | None:
        """How many runs of the job may be under way together; None for any number."""
        if self.max_active is None and self.overlap is not Overlap.ALLOW:
            return 1
        return self.max_active

    @property
    def follows_itself(self) -> bool:
        """Whether the end of one run gives the slot of the next."""
        return any(isinstance(each, AfterEnd) for each in self.schedules)

    @property
    def schedule_text(self) -> str:
        """The schedules as a user would read them; empty for a job without one."""
        return "; ".join(each.describe() for each in self.schedules)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `spec_from_json` reads."""
        # Only a container job has the key: the versions of all others stay what they were.
        container = {} if self.container is None else {"container": self.container.to_json()}
        return {
            "name": self.name,
            "schedules": [each.to_json() for each in self.schedules],
            "timezone": self.timezone,
            "num_cpus": self.resources.num_cpus,
            "num_gpus": self.resources.num_gpus,
            "memory_bytes": self.resources.memory_bytes,
            "resources": dict(self.resources.custom),
            "placement": self.placement,
            "label_selector": dict(self.label_selector),
            "retries": self.retry.retries,
            "retry_delay_us": us(duration_of(self.retry.delay)),
            "retry_backoff": float(self.retry.backoff),
            "retry_max_delay_us": us(duration_of(self.retry.max_delay)),
            "timeout_us": us(self.timeout),
            "queue_timeout_us": us(self.queue_timeout),
            "overlap": self.overlap,
            "catchup": self.catchup,
            "max_catchup": self.max_catchup,
            "misfire_grace_us": us(self.misfire_grace),
            "max_active": self.max_active,
            "signature": [self.signature.names, self.signature.required, self.signature.open],
            "params": dict(self.params),
            "tags": list(self.tags),
            "priority": self.priority,
            "runtime_env": dict(self.runtime_env),
            "env": dict(self.env),
            "description": self.description,
            **container,
        }

    def version(self, code_hash: str) -> str:
        """Return the version of this definition with this code: 12 hex digits of SHA-256."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{code_hash}\n{text}".encode()).hexdigest()[:12]


def spec_from_json(data: Mapping[str, Any]) -> JobSpec:
    """Return the definition that `JobSpec.to_json` wrote."""
    name, zone = data["name"], data["timezone"]
    names, required, is_open = data["signature"]
    return JobSpec(
        name=name,
        schedules=tuple([schedule_from_json(each, name, zone) for each in data["schedules"]]),
        timezone=intern(zone),
        resources=_resources(data),
        placement=intern(str(data["placement"])),
        label_selector=data["label_selector"] or _NOTHING,
        retry=_retry(
            data["retries"],
            data["retry_delay_us"],
            data["retry_backoff"],
            data["retry_max_delay_us"],
        ),
        timeout=span(data["timeout_us"]),
        queue_timeout=span(data["queue_timeout_us"]),
        overlap=Overlap(data["overlap"]),
        catchup=Catchup(data["catchup"]),
        max_catchup=data["max_catchup"],
        misfire_grace=span(data["misfire_grace_us"]),
        max_active=data["max_active"],
        signature=_signature(tuple(names), tuple(required), is_open),
        params=data["params"] or _NOTHING,
        tags=tuple(data["tags"]),
        priority=data["priority"],
        runtime_env=data["runtime_env"] or _NOTHING,
        env=data["env"] or _NOTHING,
        description=data["description"],
        container=container_from_json(data["container"]) if "container" in data else None,
    )


# A scheduler reads all its jobs when it starts. What many of them have alike is made once,
# and kept once: half of the time, and of the memory.
_NOTHING: Mapping[str, Any] = {}


def _resources(data: Mapping[str, Any]) -> Resources:
    plain = _plain(data["num_cpus"], data["num_gpus"], data["memory_bytes"])
    return replace(plain, custom=data["resources"]) if data["resources"] else plain


@lru_cache(maxsize=1_024, typed=True)
def _plain(num_cpus: float, num_gpus: float, memory_bytes: int) -> Resources:
    return Resources(num_cpus=num_cpus, num_gpus=num_gpus, memory_bytes=memory_bytes)


@lru_cache(maxsize=1_024, typed=True)
def _retry(retries: int, delay_us: int, backoff: float, max_delay_us: int) -> Retry:
    return Retry(
        retries,
        delay=delay_us * MICROSECOND,
        backoff=backoff,
        max_delay=max_delay_us * MICROSECOND,
    )


@lru_cache(maxsize=1_024)
def _signature(names: tuple[str, ...], required: tuple[str, ...], is_open: bool) -> Signature:
    return Signature(names=names, required=required, open=is_open)
