"""How punctual each carrier was on one day: a container, which only sees the data's folder."""

from __future__ import annotations

import _nycflights as nyc

import raysched as rs

carriers = rs.container(
    "carriers",
    build="carriers",
    description="Print the flights, cancellations and punctuality of each carrier on one day.",
    schedule="0 6 * * *",
    timezone="America/New_York",
    mounts=[rs.Mount(source=str(nyc.source(nyc.FLIGHTS).parent), target="/data")],
    network="none",
    read_only=True,
    num_cpus=0.5,
    memory="64MiB",
    retries=rs.Retry(1, delay="1m"),
    timeout="5m",
    tags=["flights", "report"],
)
