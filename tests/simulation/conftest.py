"""Simulations run without Ray: importing or starting it during one is a failure."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pytest


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
