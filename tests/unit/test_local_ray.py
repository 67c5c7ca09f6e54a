"""What a Ray of one's own is started with."""

from raysched.cluster import local

KEPT = "RAY_idle_worker_killing_time_threshold_ms"


def test_workers_stay_warm_for_a_minute_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv(KEPT, raising=False)
    assert local._environment()[KEPT] == "60000"
    monkeypatch.setenv(KEPT, "5")
    assert local._environment()[KEPT] == "5"
