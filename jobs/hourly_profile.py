"""When the airports are busy: a small job that shows progress, output and a child process."""

from __future__ import annotations

import subprocess
import time

import _nycflights as nyc

import raysched as rs


@rs.job(schedule=rs.every("1h", jitter="5m"), timeout="5m", tags=["flights"])
def hourly_profile(day: str = "", rest_s: float = 0.0, data: str = "") -> dict[str, int]:
    """Return how many flights were to leave in each hour of a day.

    `rest_s` is a pause after each hour of the day, in seconds, for whoever wants to watch.
    """
    date = nyc.day_of_2013(day)
    hours = nyc.flights_of(date, data)["hour"].to_pylist()
    counts = {}
    for n, hour in enumerate(sorted(set(hours)), start=1):
        counts[f"{hour:02}:00"] = hours.count(hour)
        print(f"{date} {hour:02}:00  {hours.count(hour)} flights")
        rs.current().progress(n, len(set(hours)))
        time.sleep(rest_s)
    print("the busiest first, sorted by a child process:", flush=True)
    table = "\n".join(f"{count} {hour}" for hour, count in counts.items())
    subprocess.run(["sort", "-rn"], input=table, text=True, check=True)  # noqa: S607
    return counts
