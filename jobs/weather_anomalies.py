"""The hours of a day in which the weather was bad enough to explain its delays."""

from __future__ import annotations

import _nycflights as nyc
import pandas as pd

import raysched as rs


@rs.job(
    schedule="30 6 * * *",
    timezone="America/New_York",
    memory="512MiB",
    retries=rs.Retry(1, delay="5m"),
    timeout="10m",
    tags=["flights", "weather"],
)
def weather_anomalies(day: str = "", most_cancelled: float = 0.3, data: str = "") -> pd.DataFrame:
    """Return the stormy, wet or foggy hours with the delays in them.

    The day is that of the run's slot, moved into 2013. On a day with more than
    `most_cancelled` of its flights cancelled it fails: in 2013 these are the 8th and
    the 9th of February, the blizzard Nemo.
    """
    date = nyc.day_of_2013(day)
    flights = nyc.flights_of(date, data).to_pandas()
    weather = nyc.weather_of(date).to_pandas()
    cancelled = flights["dep_time"].isna()
    print(f"{date}: {cancelled.sum()} of {len(flights)} flights cancelled")
    if cancelled.mean() > most_cancelled:
        raise RuntimeError(
            f"{date}: {cancelled.mean():.0%} of {len(flights)} flights were cancelled, more than "
            f"{most_cancelled:.0%}; gusts up to {weather['wind_gust'].max():.0f} mph, "
            f"{weather['temp'].min():.0f} F"
        )
    hours = flights.groupby(["origin", "hour"], as_index=False).agg(
        flights=("flight", "size"), mean_delay_min=("dep_delay", "mean")
    )
    joined = hours.merge(weather, on=["origin", "hour"], validate="one_to_one")
    bad = (joined["wind_gust"] > 35) | (joined["precip"] > 0.1) | (joined["visib"] < 2)
    columns = ["origin", "hour", "flights", "mean_delay_min", "wind_gust", "precip", "visib"]
    rs.current().metric("bad_hours", int(bad.sum()))
    bad_hours: pd.DataFrame = joined.loc[bad, columns].reset_index(drop=True)
    return bad_hours
