"""What tests of several folders share."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

import psutil
import pytest


def until(condition, timeout_s=60):
    """Wait until a condition about the world outside holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def kill_actor(client, name: str) -> int:
    """Kill the process of one of our actors as `kill -9` does, and return its pid."""
    raylet = psutil.Process(client.status()["pid"]).parent()
    (pid,) = [
        process.pid
        for process in raylet.children()
        if f"ray::{name}" in " ".join(process.cmdline())
    ]
    os.kill(pid, signal.SIGKILL)
    return pid


class _NoRay(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] == "ray":
            raise ImportError(f"{fullname} is imported by a test that runs without Ray")


def _refuse(*args, **kwargs):
    raise AssertionError("ray.init is called by a test that runs without Ray")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [_NoRay(), *sys.meta_path])
    if "ray" in sys.modules:  # an integration test of the same process has imported it
        monkeypatch.setattr(sys.modules["ray"], "init", _refuse)


@contextmanager
def full_disk(size: int = 0):
    """No file can grow beyond a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
