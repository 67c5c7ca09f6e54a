"""However often the scheduler is killed, and wherever, its promises hold."""

from __future__ import annotations

from collections import Counter

import pytest
from crashes import Chaos, Story, check

NEVER = 0


@pytest.mark.parametrize("seed", range(150))
def test_a_random_life_with_crashes_keeps_every_promise(seed):
    check(Chaos(seed).play())


@pytest.mark.parametrize("seed", [3, 14, 27])
def test_the_same_seed_gives_the_same_trace(seed):
    first, second = Chaos(seed).play(), Chaos(seed).play()
    assert first.digest == second.digest
    assert first.digest != Chaos(seed + 1000).play().digest


def test_the_scripted_story_has_every_kind_of_step_and_outcome_in_it():
    story = Story(NEVER).play()
    check(story)
    steps = {
        f"{call}: {when}"
        for call in ("open", "commit", "attach", "publish", "publish partial", "discard")
        for when in ("before", "after")
    }
    steps |= {f"{call}: {when}" for call in ("launch", "stop") for when in ("before one", "after")}
    assert set(story.faults.names) == steps
    disk = story.world.disk
    assert {row["decision"] for row in disk.dataset("decisions")} >= {"fired", "skipped"}
    assert {row["status"] for row in disk.dataset("attempts")} >= {
        *("succeeded", "failed", "timed_out", "cancelled", "lost")
    }
    assert {row["status"] for row in disk.dataset("runs")} >= {"succeeded", "cancelled"}


def test_a_scheduler_that_dies_at_any_one_step_of_a_story_keeps_every_promise():
    k, calm = 0, len(Story(NEVER).play().faults.names)
    while True:
        k += 1
        story = Story(k).play()
        if not story.crashes:
            break
        try:
            check(story)
        except AssertionError as error:
            where = f"the scheduler died at step {k}: {story.faults.names[k - 1]}"
            raise AssertionError(where) from error
    assert k >= calm


def test_the_random_lives_together_meet_every_decision_status_and_step():
    seen: Counter[str] = Counter()
    for seed in range(40):
        chaos = Chaos(seed).play()
        seen.update(row["decision"] for row in chaos.world.disk.dataset("decisions"))
        seen.update(row["status"] for row in chaos.world.disk.dataset("runs"))
        seen.update(row["trigger"] for row in chaos.world.disk.dataset("runs"))
        seen["crashes"] += chaos.crashes
        seen["launcher deaths"] += chaos.deaths
    for each in ("fired", "skipped", "coalesced", "missed", "succeeded", "failed", "timed_out"):
        assert seen[each] > 10
    assert seen["backfill"] > 30
    assert min(seen["cancelled"], seen["lost"], seen["crashes"], seen["launcher deaths"]) > 3
