"""What an examination looks at: frozen facts, of which any may be unknown.

Law: values only. They are gathered in `look`, judged in `checks`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The versions that a process runs."""

    raysched: str
    ray: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The home's directory: `problem` is why nothing can be written there."""

    path: str
    exists: bool
    problem: str | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state database; `holders` are the processes of this user that have it open."""

    path: str
    exists: bool
    problem: str | None = None
    holders: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The file of Ray's token, and its permission bits; None if it is not there."""

    path: str
    mode: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port that a process of Ray's accepts connections on."""

    address: str
    port: int
    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The Ray that is meant: `named_by` says by what; `problem`, why it cannot be joined."""

    address: str | None
    named_by: str | None
    problem: str | None = None
    demands_token: bool | None = None
    listeners: tuple[Listener, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """What the scheduler says of itself; `ahead_s` is its clock minus this machine's."""

    epoch: int
    pid: int
    node_id: str
    home: str
    launcher: str | None
    launcher_state: str | None = None
    database: str | None = None
    software: Software | None = None
    ahead_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the cluster, as a process on it sees it."""

    name: str
    problem: str | None = None
    software: Software | None = None
    ahead_s: float | None = None
    engine: str | None = None
    engine_problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known; what has not been looked at, or could not be, is None."""

    here: Software
    place: Place | None = None
    state: State | None = None
    token: Token | None = None
    engine: str | None = None
    engine_problem: str | None = None
    cluster: Cluster | None = None
    scheduler: Scheduler | None = None
    scheduler_problem: str | None = None
    nodes: tuple[Node, ...] | None = None
