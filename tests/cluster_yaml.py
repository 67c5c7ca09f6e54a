"""The cluster.yaml of this checkout, and what tests make of it: as its comments say, and no more.

`for_own_machines` does what its reader is told to do for machines of one's own. `for_hosts`
is that for the hosts of a test: they have no way to an index of packages, but this checkout
is installed on each, so that nothing remains to be set up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

import hosts

PATH = hosts.CHECKOUT / "cluster.yaml"


def for_own_machines(text: str) -> str:
    """Comment the cloud's block out, and the other one in."""
    cloud, own = re.findall(r"^# >>> .*?^# <<<$", text, flags=re.DOTALL | re.MULTILINE)
    told = own.splitlines()
    begin = next(number for number, line in enumerate(told) if line.startswith("# provider:"))
    used = [line.removeprefix("# ") for line in told[begin:-1]]
    return text.replace(cloud, re.sub("^", "# ", cloud, flags=re.MULTILINE)).replace(
        own, "\n".join([*told[:begin], *used, told[-1]])
    )


def for_hosts(
    head_ip: str, worker_ips: Sequence[str] = (), *, health: str = "", **changes: Any
) -> Mapping[str, Any]:
    """Return the cluster of these hosts; `health` is run before its Ray is started."""
    config = yaml.safe_load(for_own_machines(PATH.read_text()))
    config["provider"] |= {"head_ip": head_ip, "worker_ips": list(worker_ips)}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": hosts.KEY}
    config["file_mounts"] = {
        there: here if here.startswith("~") else str(hosts.CHECKOUT / here)
        for there, here in config["file_mounts"].items()
    }
    config["initialization_commands"] = config["setup_commands"] = []
    starts = config["head_start_ray_commands"]
    starts[0] = health + starts[0]
    return {**config, "max_workers": len(worker_ips), **changes}
