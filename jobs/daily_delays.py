"""How late each carrier was on one day."""

from __future__ import annotations

import _nycflights as nyc
import pandas as pd

import raysched as rs


@rs.job(
    schedule="0 6 * * *",
    timezone="America/New_York",
    memory="512MiB",
    retries=rs.Retry(3, delay="30s", backoff=2),
    timeout="10m",
    params={"origin": ""},
    tags=["flights", "report"],
)
def daily_delays(origin: str = "", day: str = "", data: str = "") -> pd.DataFrame:
    """Return delays and cancellations by carrier and airport, the busiest first.

    The day is that of the run's slot, moved into 2013: same month, same day. `origin`
    (EWR, JFK or LGA) limits it to one airport, `day` asks for another day.
    """
    date = nyc.day_of_2013(day)
    flights = nyc.flights_of(date, data).to_pandas()
    if origin:
        flights = flights[flights["origin"] == origin]
    if flights.empty:
        raise ValueError(f"no flight left {origin or 'New York'} on {date}")
    flights["cancelled"] = flights["dep_time"].isna()
    delays: pd.DataFrame = (
        flights.groupby(["carrier", "origin"], as_index=False)
        .agg(
            flights=("flight", "size"),
            cancelled=("cancelled", "sum"),
            mean_delay_min=("dep_delay", "mean"),
            worst_delay_min=("dep_delay", "max"),
        )
        .sort_values("flights", ascending=False, ignore_index=True)
    )
    delays.insert(0, "day", pd.Timestamp(date))
    print(f"{date}: {len(flights):,} flights, {flights['cancelled'].sum():,} of them cancelled")
    rs.current().metric("flights", len(flights))
    return delays
