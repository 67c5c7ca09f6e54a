"""Ray's runtime environment of a worker, and which keys it has.

Law: Ray is not imported, for that takes longer than a program of jobs may; what keys it
has stands in its source, which is read once. Where it does not, no key is refused.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from raysched.errors import DeclarationError
from raysched.spec.options import check_keys, mapping
from raysched.spec.parameters import plain

_REFUSED = ("container", "image_uri")
_PLUGINS = "RAY_RUNTIME_ENV_PLUGINS"  # Ray's own variable: plugins bring keys of their own


def worker_environment(value: Any) -> dict[str, Any]:
    """Return a copy of Ray's runtime environment of a worker.

    Raises:
        DeclarationError: not a mapping, a key that Ray does not have, or one that makes
            Ray start a container.
        InvalidParameter: a value without a JSON form.
    """
    env = mapping(value, "runtime_env")
    for refused in _REFUSED:
        if refused in env:
            raise DeclarationError(
                f"runtime_env has {refused!r}.",
                why="Ray would start it through podman in the host's namespaces without limits.",
                fix="declare a container job instead.",
            )
    known = keys_of_ray() if env else ()
    if known and not os.environ.get(_PLUGINS):
        public = [key for key in known if key[0] != "_" and key not in _REFUSED]
        check_keys((key for key in env if key not in known), public, what="runtime_env has no key")
    return plain(env, of="runtime_env")


@cache
def keys_of_ray() -> tuple[str, ...]:
    """Return the keys that the installed Ray knows; none if its source is not there or tells none.

    Those that begin with `_` are in the environments that Ray's own class makes.
    """
    ray = PathFinder.find_spec("ray")
    if ray is None or ray.origin is None:
        return ()
    source = Path(ray.origin).with_name("runtime_env") / "runtime_env.py"
    try:
        tree = ast.parse(source.read_bytes())
        names = {name for node in tree.body if _is_class(node) for name in _keys(node)}
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(sorted(names))


def _is_class(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == "RuntimeEnv"


def _keys(of: ast.stmt) -> Iterator[str]:
    """Return the known fields of Ray's class, and what its constructor calls by another name."""
    for node in ast.walk(of):
        match node:
            case ast.AnnAssign(target=ast.Name("known_fields"), value=ast.Set() as fields):
                yield from ast.literal_eval(fields)
            case ast.FunctionDef(name="__init__", args=ast.arguments(kwonlyargs=named)):
                yield from (each.arg for each in named if each.arg != "_validate")
