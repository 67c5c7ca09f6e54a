"""What a run asks of the cluster, in Ray's own terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raysched.errors import InvalidResource
from raysched.spec.units import Size, shown, size

_GRAIN = 10_000  # Ray counts resources in ten-thousandths


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """CPUs, GPUs, memory in bytes and custom resources that one run holds while it lasts."""

    num_cpus: float = 1
    num_gpus: float = 0
    memory_bytes: int = 0
    custom: Mapping[str, float] = field(default_factory=dict)

    def as_ray(self) -> dict[str, float]:
        """Return the demand under the names that `ray.nodes()` uses, zeros left out."""
        asked = {
            "CPU": self.num_cpus,
            "GPU": self.num_gpus,
            "memory": float(self.memory_bytes),
            **self.custom,
        }
        return {name: amount for name, amount in asked.items() if amount}


def resources(
    *, num_cpus: Any = 1, num_gpus: Any = 0, memory: Size | None = None, custom: Any = None
) -> Resources:
    """Return checked resources from what a user declared.

    Raises:
        InvalidResource: negative, not finite, not a number, or a fraction Ray cannot grant.
        InvalidUnit: a memory size without its unit.
    """
    if custom is not None and not isinstance(custom, Mapping):
        raise InvalidResource(
            f"resources={shown(custom)} is not a mapping.",
            why="custom resources are named amounts.",
            fix='write for example resources={"ssd": 1}.',
        )
    return Resources(
        num_cpus=_amount("num_cpus", num_cpus),
        num_gpus=_gpus(num_gpus),
        memory_bytes=0 if memory is None else size(memory, of="memory"),
        custom={
            _custom(name): _amount(f"resources[{name!r}]", n) for name, n in (custom or {}).items()
        },
    )


def _amount(name: str, value: object) -> float:
    # By exact type: True is an int, numpy.float64 a float, and neither is what was meant.
    if type(value) not in (int, float) or not 0 <= value <= 1e6:  # type: ignore[operator]
        raise InvalidResource(
            f"{name}={shown(value)} is refused.",
            why="a resource is a plain int or float from 0 to 1,000,000.",
            fix=f"write for example {name}=1.",
        )
    amount: float = value  # type: ignore[assignment]
    if abs(amount * _GRAIN - round(amount * _GRAIN)) > 1e-6:
        raise InvalidResource(
            f"{name}={shown(value)} is too fine.",
            why="Ray grants resources in steps of 0.0001.",
            fix=f"write {name}={max(round(amount, 4), 0.0001)}.",
        )
    # 2.0 and 2 are one demand, and must not make two versions of a job.
    return int(amount) if amount == int(amount) else amount


def _gpus(value: object) -> float:
    gpus = _amount("num_gpus", value)
    if gpus > 1 and gpus != int(gpus):
        raise InvalidResource(
            f"num_gpus={shown(value)} is refused.",
            why="Ray shares one GPU in fractions, and grants several only whole.",
            fix=f"write num_gpus={math.ceil(gpus)}, or a fraction below 1.",
        )
    return gpus


def _custom(name: object) -> str:
    if type(name) is not str or not name or len(name) > 100 or not name.isprintable():
        raise InvalidResource(
            f"resource name {shown(name)} is refused.",
            why="a custom resource has a printable name of 1 to 100 characters.",
            fix='write for example resources={"ssd": 1}.',
        )
    if name in ("CPU", "GPU", "memory", "object_store_memory"):
        raise InvalidResource(
            f"resources={{{name!r}: ...}} is refused.",
            why="Ray has an option of its own for it.",
            fix="use num_cpus, num_gpus or memory.",
        )
    return name
