"""A backfill on a real Ray: what the history knows, what runs see, a killed scheduler."""

import time

import pytest

import raysched as rs
from raysched.errors import Conflict
from support import kill_actor, until


def test_a_backfill_runs_the_slots_of_the_past_and_goes_on_when_the_scheduler_is_killed(
    client, marks
):
    path = marks.path

    @rs.job(schedule="0 6 * * *", timezone="America/New_York", num_cpus=0.1)
    def daily(region="EU"):
        me = rs.current()
        with open(path, "a") as file:
            file.write(f"{me.day} {region}\n")
        if me.day.day == 3 and region == "EU":
            raise ValueError("no data")
        time.sleep(0.3)

    client.deploy(daily)
    span = ("2026-01-01T00:00Z", "2026-01-08T00:00Z")
    shown = client.backfill(daily, *span, dry_run=True)
    assert shown.action.tolist() == ["run"] * 7
    assert len(client.runs(job="daily")) == 0
    made = client.backfill(daily, *span, max_active=1)
    assert made.slot.tolist() == shown.slot.tolist()
    kill_actor(client, "Scheduler")
    for run_id in made.run_id:
        client.run(run_id).wait("60s")
    assert marks.lines() == [f"2026-01-0{day} EU" for day in range(1, 8)]
    runs = client.runs(job="daily")
    assert set(runs.trigger) == {"backfill"}
    assert runs.backfill.nunique() == 1
    assert runs.status.value_counts().to_dict() == {"succeeded": 6, "failed": 1}

    client.seal()  # now the files know, and no database
    again = client.backfill(daily, *span, reprocess="failed", params={"region": "US"})
    assert again.action.tolist() == ["leave", "leave", "run", *["leave"] * 4]
    assert "is failed; reprocess=failed" in again.reason[2]
    assert client.run(again.run_id[2]).wait("60s").status == "succeeded"
    assert marks.lines()[-1] == "2026-01-03 US"
    assert set(client.backfill(daily, *span, reprocess="failed").action) == {"leave"}
    until(lambda: client.status()["runs"] == {})
    client.delete(daily)


def test_a_job_that_names_no_slot_of_the_past_cannot_be_backfilled(client):
    @rs.job(num_cpus=0.1)
    def by_hand(): ...

    client.deploy(by_hand)
    with pytest.raises(Conflict, match="cannot be backfilled"):
        client.backfill(by_hand, "2026-01-01T00:00Z", "2026-01-08T00:00Z")
    client.delete(by_hand)
