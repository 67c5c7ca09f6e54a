"""A cluster file, read and judged before Ray's launcher sees it.

The launcher finds most faults late, on a node that costs money by then, or not at all. Here
a fault is told at once, with its place in the file. Nothing is changed, and no node asked.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysched.errors import InvalidCluster, NotFound

BLANK = "CHANGE-ME"
"""What stands in a file where only its reader can know what belongs there."""
TOKEN = "~/.ray/auth_token"  # noqa: S105 - where Ray looks for it, on each node
_LOCAL_HAS_NO = ("head_node", "worker_nodes", "available_node_types", "head_node_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFile:
    """A cluster file that has been read: its path, and what is in it."""

    path: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The cluster's name."""
        return str(self.config["cluster_name"])

    @property
    def token_path(self) -> Path:
        """Where the token lies on this machine that the nodes are given."""
        return self.on_this_machine(self.config["file_mounts"][TOKEN])

    def on_this_machine(self, path: str) -> Path:
        """Return a path of the file as the launcher means it: relative ones go by the file."""
        return self.path.parent / Path(path).expanduser()


def read(path: Path) -> ClusterFile:
    """Read a cluster file and judge it.

    Raises:
        NotFound: there is no such file.
        InvalidCluster: it is not YAML, or something in it cannot be meant.
    """
    found = ClusterFile(path=path.absolute(), config=_parse(path))
    for judge in (_shape, _schema, _blanks, _provider, _files, _authentication, _commands):
        judge(found)
    return found


def _parse(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"there is no cluster file {path}.",
            why="`raysched up FILE` takes what `ray up` takes.",
            fix="begin with the cluster.yaml of raysched's own checkout.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCluster(f"{path} cannot be read.", why=str(error)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidCluster(
            f"{path}{where}: this is not YAML.", why=problem, fix="mend that line."
        ) from None
    if not isinstance(config, dict):
        raise InvalidCluster(f"{path} holds no cluster.", why="it is not a mapping of names.")
    return config


def _shape(file: ClusterFile) -> None:
    for name, kind in (("cluster_name", str), ("provider", dict)):
        if not isinstance(file.config.get(name), kind):
            raise _fault(file, name, "it is missing or of another kind.", f"add {name}.")


def _schema(file: ClusterFile) -> None:
    import jsonschema
    import ray

    text = Path(ray.__file__).parent.joinpath("autoscaler", "ray-schema.json").read_text()
    config = {name: value for name, value in file.config.items() if name != "min_workers"}
    faults = jsonschema.Draft7Validator(json.loads(text)).iter_errors(config)
    fault = jsonschema.exceptions.best_match(faults)
    if fault is not None:
        place = ".".join(str(step) for step in fault.absolute_path) or "the file"
        raise _fault(file, place, fault.message, "compare raysched's own cluster.yaml.")


def _blanks(file: ClusterFile) -> None:
    for place, text in _texts(file.config):
        if BLANK in text:
            raise _fault(
                file, place, f"it still says {BLANK}.", "the comment beside it says how to find it."
            )


def _provider(file: ClusterFile) -> None:
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    provider = file.config["provider"]
    kind = provider["type"]
    if kind not in _NODE_PROVIDERS:
        known = ", ".join(sorted(name for name, found in _NODE_PROVIDERS.items() if found))
        raise _fault(file, "provider.type", f"Ray has no provider {kind!r}.", f"one of {known}.")
    if kind == "aws" and importlib.util.find_spec("boto3") is None:
        raise _fault(
            file, "provider.type", "aws needs boto3 on this machine.", "run `pip install boto3`."
        )
    if kind == "local":
        _machines_of_ones_own(file)
    elif file.config.get("head_node_type") not in file.config.get("available_node_types", {}):
        raise _fault(
            file,
            "head_node_type",
            "it is none of available_node_types.",
            "name the head's type there.",
        )


def _machines_of_ones_own(file: ClusterFile) -> None:
    for name in _LOCAL_HAS_NO:
        if name in file.config:
            raise _fault(
                file, name, "machines of one's own have no node types.", "take it out of the file."
            )
    provider = file.config["provider"]
    if "coordinator_address" in provider:
        return
    if not isinstance(provider.get("head_ip"), str):
        raise _fault(file, "provider.head_ip", "it is missing.", "give the head's address.")
    if not isinstance(provider.get("worker_ips"), list):
        raise _fault(
            file, "provider.worker_ips", "it is no list.", "list the workers' addresses, or []."
        )
    if provider["head_ip"] in provider["worker_ips"]:
        raise _fault(
            file,
            "provider.worker_ips",
            "the head is among them: Ray would stop it to start a worker.",
            "take the head's address out; it runs jobs as it is.",
        )


def _files(file: ClusterFile) -> None:
    for place, local in file.config.get("file_mounts", {}).items():
        if place != TOKEN and not file.on_this_machine(str(local)).exists():
            raise _fault(
                file,
                f"file_mounts.{place}",
                f"{file.on_this_machine(str(local))} is not there.",
                "relative paths go by the folder of the cluster file.",
            )
    key = file.config.get("auth", {}).get("ssh_private_key")
    if key is not None and not file.on_this_machine(key).is_file():
        raise _fault(
            file,
            "auth.ssh_private_key",
            f"{file.on_this_machine(key)} is not there.",
            "name the key that the nodes accept, or leave it out where the cloud makes one.",
        )


def _authentication(file: ClusterFile) -> None:
    if TOKEN not in file.config.get("file_mounts", {}):
        raise _fault(
            file,
            "file_mounts",
            "no node is given a token: whoever reaches a port of Ray's would execute code.",
            f"add `{TOKEN}: {TOKEN}`; `raysched up` makes the token.",
        )
    for name in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in file.config.get(name, ()):
            if "ray start" in command and "RAY_AUTH_MODE=token" not in command:
                raise _fault(
                    file,
                    name,
                    "without its token Ray would start open to all.",
                    "write `RAY_AUTH_MODE=token ray start …`.",
                )


def _commands(file: ClusterFile) -> None:
    starts = [
        each for each in file.config.get("head_start_ray_commands", ()) if "ray start" in each
    ]
    if not any("--autoscaling-config" in each for each in starts):
        raise _fault(
            file,
            "head_start_ray_commands",
            "Ray's head would start no workers.",
            "write `ray start --head … --autoscaling-config=~/ray_bootstrap_config.yaml`.",
        )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Walk all texts of a configuration, with their places."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}[{number}]")


def _fault(file: ClusterFile, place: str, why: str, fix: str) -> InvalidCluster:
    shown = os.path.relpath(file.path)
    return InvalidCluster(f"{shown}: {place} is refused.", why=why, fix=fix)
