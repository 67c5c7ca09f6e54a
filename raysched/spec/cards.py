"""What is shown of a job and of a schedule: cards, made of nothing but what was declared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from raysched.show.card import Card, Facts, Table
from raysched.show.text import instant, until
from raysched.spec.container import Container
from raysched.spec.definition import JobSpec
from raysched.spec.policies import Placement, Retry, duration_of
from raysched.spec.resources import Resources
from raysched.spec.schedules import AfterEnd, Cron, Schedule, next_slot
from raysched.spec.units import spell, spell_size
from raysched.spec.words import in_words

_SLOTS = 5


def job_card(kind: str, spec: JobSpec, now: datetime) -> Card:
    """Return the card of a declared job, with the slots that follow `now`."""
    words = "\n".join(in_words(each) for each in spec.schedules)
    facts = {
        "schedule": words or "none; it runs when it is triggered",
        "about": spec.description,
        "resources": _resources(spec.resources),
        "placement": _placement(spec),
        **(_container(spec.container) if spec.container else {}),
        **_policies(spec),
        **_surroundings(spec),
    }
    slots = _slots(spec.schedules, spec.timezone, now)
    return Card(kind=kind, title=spec.name, parts=(Facts(facts=facts), slots))


def schedule_card(schedule: Schedule, now: datetime) -> Card:
    """Return the card of a schedule, with the slots that follow `now`."""
    zone = schedule.zone if isinstance(schedule, Cron) else None
    facts = Facts(facts={"meaning": in_words(schedule)})
    return Card(
        kind="Schedule",
        title=schedule.describe(),
        parts=(facts, _slots([schedule], zone or "UTC", now)),
    )


def _slots(schedules: Sequence[Schedule], zone: str, now: datetime) -> Table:
    # When a last run will end, nothing here knows.
    fixed = [each for each in schedules if not isinstance(each, AfterEnd)]
    found = list(islice(_following(fixed, now), _SLOTS))
    rows = [(instant(slot, zone), until(slot, now)) for slot in found]
    return Table(header=(f"next slots ({zone})", ""), rows=rows, total=len(rows), of="slots")


def _following(schedules: Sequence[Schedule], slot: datetime) -> Iterator[datetime]:
    while (following := next_slot(schedules, slot, slot)) is not None:
        yield following
        slot = following


def _resources(asked: Resources) -> str:
    amounts = {
        "CPU": asked.num_cpus,
        "GPU": asked.num_gpus,
        **asked.custom,
    }
    words = [f"{amount:g} {name}" for name, amount in amounts.items() if amount]
    words += [f"{spell_size(asked.memory_bytes)} memory"] if asked.memory_bytes else []
    return ", ".join(words) or "none"


def _placement(spec: JobSpec) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in spec.label_selector.items())
    placed = "" if spec.placement == Placement.PACK else spec.placement
    return "; ".join(word for word in (placed, labels and f"labels {labels}") if word)


def _policies(spec: JobSpec) -> dict[str, str]:
    return {
        "retries": _retries(spec.retry),
        "timeout": _spelled(spec.timeout),
        "queue timeout": _spelled(spec.queue_timeout),
        "overlap": f"{spec.overlap}, at most {spec.limit:,} at once"
        if spec.limit
        else f"{spec.overlap}, any number at once",
        "catchup": f"{spec.catchup}, at most {spec.max_catchup:,}" if spec.schedules else "",
        "misfire grace": _spelled(spec.misfire_grace),
        "priority": f"{spec.priority}" if spec.priority else "",
    }


def _retries(retry: Retry) -> str:
    if not retry.retries:
        return "none"
    delay = duration_of(retry.delay)
    words = f"{retry.retries}" + (f", {spell(delay)} apart" if delay else ", at once")
    if delay and retry.backoff > 1:
        words += f", times {retry.backoff:g} each, up to {spell(duration_of(retry.max_delay))}"
    return words


def _surroundings(spec: JobSpec) -> dict[str, str]:
    required = [name for name in spec.signature.required if name not in spec.params]
    return {
        "parameters": _json(spec.params) if spec.params else "",
        "needs": ", ".join(required),
        "tags": ", ".join(spec.tags),
        # By name alone: values may be nobody else's business.
        "environment": ", ".join(spec.env),
        "runtime_env": ", ".join(spec.runtime_env),
    }


def _container(container: Container) -> dict[str, str]:
    return {
        "image": container.image or "built from its folder",
        "command": _json(container.command) if container.command else "",
        "mounts": ", ".join(f"{each.source}:{each.target}" for each in container.mounts),
        "network": container.network,
        "secrets": ", ".join(container.secrets),
    }


def _json(value: Mapping[str, object] | Sequence[object]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _spelled(length: timedelta | None) -> str:
    return "" if length is None else spell(length)
