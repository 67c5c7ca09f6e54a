"""Tasks for tests of container attempts."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import fields

import docker_engine
from raysched.runners.container import Task
from raysched.spec.container import Container

_OF_CONTAINER = {field.name for field in fields(Container)}


def make_task(script: str | None = None, **given) -> Task:
    """A task that runs a shell script in the base image, but for what is given."""
    container = {name: given.pop(name) for name in list(given) if name in _OF_CONTAINER}
    if not container.keys() & {"image", "build"}:
        container["image"] = docker_engine.BASE
    if script is not None:
        container.setdefault("command", ("sh", "-c", script))
    context = given.pop("context", b"")
    plain = {
        "home": "/home",
        "key": uuid.uuid4().hex,
        "run_id": "etl@2026-11-22T06:00:00Z",
        "attempt": 1,
        "job": "etl",
        "slot": "2026-11-22T06:00:00+00:00",
        "params": {},
        "env": {},
        "num_cpus": 1,
        "memory_bytes": 64 * 1024 * 1024,
        "gpu_ids": (),
        "timeout_s": None,
        "log_limit_bytes": 8 * 1024 * 1024,
    }
    return Task(
        **{**plain, **given},
        container=Container(**container),
        context=context,
        code_hash=hashlib.sha256(context).hexdigest(),
    )
