"""The options that jobs of every kind have, and what is common to checking them.

An option's value may be anything that a user wrote: it becomes a checked, frozen one
here, or an error that says what, why and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, TypedDict

from raysched.errors import DeclarationError
from raysched.spec.definition import JobSpec
from raysched.spec.names import job_name, tag
from raysched.spec.parameters import Signature, closest, encodable, plain
from raysched.spec.policies import Catchup, Overlap, Placement, Retry, count, policy, retry
from raysched.spec.resources import resources
from raysched.spec.schedules import schedules
from raysched.spec.units import Duration, Size, duration, shown
from raysched.spec.zones import zone_name

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_RESERVED = ("RAYSCHED_", "RAY_")
_NODE = re.compile(r"node:[A-Za-z0-9_.:-]{1,128}", re.ASCII)


class Declared(TypedDict, total=False):
    """The types of the options that jobs of every kind take beside their names."""

    schedule: Any
    timezone: str
    num_cpus: float
    num_gpus: float
    memory: Size | None
    resources: Mapping[str, float] | None
    placement: str
    label_selector: Mapping[str, str] | None
    retries: int | Retry
    timeout: Duration | None
    queue_timeout: Duration | None
    overlap: str
    catchup: str
    max_catchup: int
    misfire_grace: Duration | None
    max_active: int | None
    params: Mapping[str, Any] | None
    tags: Sequence[str]
    priority: int
    env: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of every job as declared, with their defaults, not yet checked."""

    name: Any = None
    schedule: Any = None
    timezone: Any = "UTC"
    num_cpus: Any = 1
    num_gpus: Any = 0
    memory: Any = None
    resources: Any = None
    placement: Any = "pack"
    label_selector: Any = None
    retries: Any = 0
    timeout: Any = None
    queue_timeout: Any = None
    overlap: Any = "skip"
    catchup: Any = "latest"
    max_catchup: Any = 100
    misfire_grace: Any = None
    max_active: Any = None
    params: Any = None
    tags: Any = ()
    priority: Any = 0
    env: Any = None

    def checked(self, signature: Signature) -> JobSpec:
        """Return the definition that they declare for something with these parameters.

        Raises:
            DeclarationError: an option that cannot be meant.
            InvalidParameter: `params` that it does not take, or lacks.
        """
        name = job_name(self.name)
        zone = zone_name(self.timezone)
        params = mapping(self.params, "params")
        slots = schedules(self.schedule, name=name, zone=zone)
        signature.check(name, params, whole=bool(slots))
        return JobSpec(
            name=name,
            schedules=slots,
            timezone=zone,
            resources=resources(
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                memory=self.memory,
                custom=self.resources,
            ),
            placement=_placement(self.placement),
            label_selector=strings(self.label_selector, "label_selector"),
            retry=retry(self.retries),
            timeout=_optional(self.timeout, "timeout"),
            queue_timeout=_optional(self.queue_timeout, "queue_timeout"),
            overlap=policy(Overlap, self.overlap, of="overlap"),
            catchup=policy(Catchup, self.catchup, of="catchup"),
            max_catchup=count(self.max_catchup, of="max_catchup", most=1000),
            misfire_grace=_optional(self.misfire_grace, "misfire_grace"),
            max_active=None if self.max_active is None else count(self.max_active, of="max_active"),
            signature=signature,
            params=plain(params, of="params"),
            tags=tuple(tag(each) for each in _tags(self.tags)),
            priority=count(self.priority, of="priority", least=-1000, most=1000),
            env=variables(self.env, "env", reserved=_RESERVED),
        )


def known(declared: Mapping[str, Any], options: type[Options], *, of: str) -> Mapping[str, Any]:
    """Return what was declared if each name in it is one of `options`; `of` declares them.

    Raises:
        DeclarationError: an option that does not exist; names the nearest one.
    """
    check_keys(declared, [each.name for each in fields(options)], what=f"{of} has no option")
    return declared


def check_keys(given: Iterable[Any], names: Sequence[str], *, what: str) -> None:
    """Check that the keys given are none but `names`; `what` begins the error.

    Raises:
        DeclarationError: another key; names the nearest one.
    """
    for key in given:
        if type(key) is not str or key not in names:
            raise DeclarationError(
                f"{what} {shown(key)}.",
                why=f"there are {', '.join(names)}.",
                fix=closest(key, names) or "remove it.",
            )


def mapping(value: Any, of: str) -> dict[str, Any]:
    """Return a copy of a mapping; that of None is empty.

    Raises:
        DeclarationError: not a mapping.
    """
    if value is not None and not isinstance(value, Mapping):
        raise DeclarationError(
            f"{of}={shown(value)} is not a mapping.",
            why=f"{of} gives values names.",
            fix=f'write for example {of}={{"a": "b"}}.',
        )
    return {} if value is None else dict(value)


def strings(value: Any, of: str) -> dict[str, str]:
    """Return a copy of a mapping of text to text.

    Raises:
        DeclarationError: not a mapping, another type in it, or text that UTF-8 cannot encode.
    """
    found = mapping(value, of)
    for name, item in found.items():
        if type(name) is not str or type(item) is not str:
            raise DeclarationError(
                f"{of} has {shown(name)}: {shown(item)}.",
                why=f"{of} maps strings to strings.",
                fix=f'write for example {of}={{"a": "b"}}.',
            )
        if not (encodable(name) and encodable(item)):
            raise DeclarationError(
                f"{of} has {shown(name)}: {shown(item)}.",
                why="it contains a lone surrogate, which UTF-8 cannot encode.",
                fix="decode the bytes with the right encoding first.",
            )
    return found


def variables(value: Any, of: str, *, reserved: tuple[str, ...] = ()) -> dict[str, str]:
    """Return a copy of a mapping of variables' names to their values.

    Raises:
        DeclarationError: as `strings`, a name that no shell could name or that begins with
            one of `reserved`, or a value with a NUL.
    """
    found = strings(value, of)
    for name, item in found.items():
        if not _ENV_NAME.fullmatch(name) or name.startswith(reserved) or "\0" in item:
            apart = f", not {' or '.join(f'{each}*' for each in reserved)}" if reserved else ""
            raise DeclarationError(
                f"{of} has {shown(name)}: {shown(item)}.",
                why=f"a variable's name is letters, digits and '_'{apart}; its value has no NUL.",
                fix="rename it.",
            )
    return found


def _optional(value: Any, of: str) -> timedelta | None:
    return None if value is None else duration(value, of=of)


def _placement(value: object) -> str:
    if isinstance(value, str) and _NODE.fullmatch(value):
        return value
    return policy(Placement, value, of="placement", also=("node:<id or ip>",))


def _tags(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise DeclarationError(
            f"tags={shown(value)} is not a list.",
            why="a bare string would be one tag a letter.",
            fix='write for example tags=["etl"].',
        )
    return list(value)
