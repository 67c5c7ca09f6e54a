"""What the facts mean: each check is a pure function that gives one finding.

Law: no check looks at the world. A finding that is not ok says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from raysched.cli.doctor.facts import Facts, Listener, Software, State
from raysched.core.ports import LauncherState
from raysched.show.text import length, size

MIB = 1024 * 1024
SCARCE_BYTES, FULL_BYTES = 2048 * MIB, 128 * MIB
DRIFT_S, WRONG_S = 0.5, 5.0
"""Slots are decided by the scheduler's clock; beyond these, times in the history mislead."""


class Level(StrEnum):
    """How a check went; `unknown` is one for which something else is missing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a check."""

    check: str
    level: Level
    evidence: str
    fix: str | None = None


def python(facts: Facts) -> Finding:
    """Whether the versions here are known to each other."""
    here = facts.here
    found = f"raysched {here.raysched}, Ray {here.ray}, Python {here.python}"
    return Finding(check="software here", level=Level.OK, evidence=found)


def home(facts: Facts) -> Finding:
    """Whether the home can be written, and has room."""
    name, place = "home", facts.place
    if place is None:
        return _unknown(name, "not looked at")
    if place.problem:
        fix = "make it yours and writable, or name another --home."
        return _fail(name, place.problem, fix)
    if not place.exists:
        return _warn(name, f"{place.path} is not there yet", "`raysched up` makes it.")
    free = place.free_bytes or 0
    told = f"{place.path} is writable; {size(free)} of {size(place.total_bytes)} free"
    if free < FULL_BYTES:
        return _fail(name, told, "free some space: soon nothing can be recorded.")
    if free < SCARCE_BYTES:
        return _warn(name, told, "free some space, or move the home to a larger disk.")
    return _ok(name, told)


def state(facts: Facts) -> Finding:
    """Whether the state database is whole, and one scheduler's alone."""
    name, found, scheduler = "state database", facts.state, facts.scheduler
    if scheduler and scheduler.database:
        return _ok(name, f"{scheduler.database}, which the scheduler has open")
    if found is None:
        return _unknown(name, "not looked at")
    if found.problem:
        fix = (
            "restore it from a backup, or move it away to start with no jobs; the history in "
            "the files stays."
        )
        return _fail(name, f"{found.path}: {found.problem}", fix)
    if not found.exists:
        return _warn(name, f"there is no {found.path} yet", "`raysched up` makes it.")
    return _held(name, found, scheduler.pid if scheduler else None)


def _held(name: str, found: State, owner: int | None) -> Finding:
    """Judge who has a state database open."""
    strangers = [pid for pid in found.holders if pid != owner]
    held = f"{found.path} is open in process {', '.join(map(str, found.holders))}"
    if strangers and (owner or len(strangers) > 1):
        told = f"{held}; the scheduler's is {owner or 'unknown'}"
        return _warn(name, told, "end whatever else has it open: it is the scheduler's alone.")
    return _ok(name, f"whole; {held}" if found.holders else f"{found.path} is whole")


def ray(facts: Facts) -> Finding:
    """Whether the Ray that is meant can be joined."""
    name, cluster = "Ray", facts.cluster
    if cluster is None:
        return _unknown(name, "not looked at")
    if cluster.address is None:
        return _warn(name, "neither RAY_ADDRESS nor the home names one", "run `raysched up`.")
    told = f"{cluster.address}, named by {cluster.named_by}"
    if cluster.problem:
        fix = "see whether it runs, and whether a firewall or a token keeps you out."
        if cluster.named_by != "RAY_ADDRESS":
            fix = "run `raysched up`; ray.log in the home may say how it ended."
        return _fail(name, f"{told}: {cluster.problem}", fix)
    return _ok(name, f"{told}, answers")


def token(facts: Facts) -> Finding:
    """Whether whoever reaches a port of Ray's must show a token that nobody else can read."""
    name, cluster, file = "token", facts.cluster, facts.token
    if file is not None and file.mode is not None and file.mode & 0o077:
        told = f"{file.path} has mode {file.mode:04o}: others can read it"
        return _fail(name, told, f"chmod 600 {file.path}; then, for a new one, start Ray again.")
    if cluster is None or cluster.address is None:
        return _unknown(name, "there is no Ray")
    if cluster.demands_token is False:
        fix = "start Ray with RAY_AUTH_MODE=token: whoever reaches its port executes code."
        return _warn(name, "this Ray demands none", fix)
    if file is None or file.mode is None:
        told = f"{file.path} is not there" if file else "no file of one is known here"
        if cluster.demands_token:
            return _fail(name, told, "start Ray again: `raysched down`, `raysched up`.")
        return _warn(name, told, "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH.")
    told = f"{file.path} has mode {file.mode:04o}"
    return _ok(name, told + (", and Ray demands it" if cluster.demands_token else ""))


def ports(facts: Facts) -> Finding:
    """Whether strangers can reach Ray."""
    name, cluster = "open ports", facts.cluster
    if cluster is None or cluster.address is None:
        return _unknown(name, "there is no Ray")
    if not cluster.listeners:
        return _unknown(name, "Ray's ports are not this machine's")
    wide = [each for each in cluster.listeners if not _is_loopback(each.address)]
    if not wide:
        return _ok(name, f"all {len(cluster.listeners)} on the loopback interface")
    told = f"{len(wide)} of Ray's ports are open beyond this machine ({_some(wide)})"
    if cluster.demands_token:
        return _ok(name, f"{told}; a token is demanded")
    fix = "start Ray with RAY_AUTH_MODE=token, bind it to 127.0.0.1, or close the ports."
    if cluster.demands_token is None:
        return _warn(name, f"{told}; whether a token is demanded is not known", fix)
    return _fail(name, f"{told}, and no token is demanded", fix)


def _some(wide: list[Listener]) -> str:
    told = [f"{each.process} {each.address}:{each.port}" for each in wide[:3]]
    return ", ".join(told) + (", ..." if len(wide) > 3 else "")


def _is_loopback(address: str) -> bool:
    return address in ("::1", "localhost") or address.removeprefix("::ffff:").startswith("127.")


def scheduler(facts: Facts) -> Finding:
    """Whether the scheduler answers, for this home."""
    name, found = "scheduler", facts.scheduler
    if found is None:
        if facts.scheduler_problem:
            fix = (
                "run `raysched up`; one that runs another version of raysched is to be started "
                "again: `raysched down`, `raysched up`."
            )
            return _fail(name, facts.scheduler_problem, fix)
        return _unknown(name, "there is no Ray")
    told = f"answers; epoch {found.epoch}, process {found.pid}, home {found.home}"
    if facts.place and found.home != facts.place.path:
        fix = f"name its home: --home {found.home}."
        return _warn(name, f"{told}, which is not {facts.place.path}", fix)
    return _ok(name, told)


def launcher(facts: Facts) -> Finding:
    """Whether the launcher is attached, without which nothing starts."""
    name, found = "launcher", facts.scheduler
    if found is None:
        return _unknown(name, "the scheduler does not answer")
    if found.launcher_state == LauncherState.STARTING:
        return _warn(name, "it is starting: no run can start yet", "wait a few seconds.")
    if found.launcher is None:
        fix = "wait a few seconds: it is started again by itself; then see Ray's logs of it."
        return _fail(name, "none is attached: no run can start", fix)
    return _ok(name, f"{found.launcher} is attached")


def versions(facts: Facts) -> Finding:
    """Whether this client and the scheduler are of one version."""
    name, found = "versions", facts.scheduler
    if found is None:
        return _unknown(name, "the scheduler does not answer")
    if found.software is None:
        fix = "restart it: `raysched down`, `raysched up`."
        return _warn(name, "the scheduler does not tell its own: it is an older raysched", fix)
    return _compared(name, facts.here, found.software, "the scheduler")


def clock(facts: Facts) -> Finding:
    """Whether the scheduler's clock agrees with this one."""
    name, found = "clock", facts.scheduler
    if found is None or found.ahead_s is None:
        return _unknown(name, "the scheduler does not tell its time")
    return _in_time(name, {"the scheduler": found.ahead_s})


def engine(facts: Facts) -> Finding:
    """Whether containers can run on this machine."""
    name = "container engine here"
    if facts.engine:
        return _ok(name, f"Docker {facts.engine}")
    if facts.engine_problem is None:
        return _unknown(name, "not looked at")
    fix = "install and start Docker, or set DOCKER_HOST, if container jobs are to run here."
    return _warn(name, facts.engine_problem, fix)


def nodes(facts: Facts) -> Finding:
    """Whether every node can run our code, in our version."""
    name, found = "nodes", facts.nodes
    if found is None:
        return _unknown(name, "there is no Ray")
    for node in found:
        if node.problem:
            fix = "see that raysched is installed there, and that Ray's worker starts."
            return _fail(name, f"node {node.name}: {node.problem}", fix)
    for node in found:
        if node.software and node.software != facts.here:
            return _compared(name, facts.here, node.software, f"node {node.name}")
    return _ok(name, f"{len(found)} answer(s): {', '.join(node.name for node in found)}")


def node_clocks(facts: Facts) -> Finding:
    """Whether the nodes' clocks agree with this one."""
    known = {f"node {n.name}": n.ahead_s for n in facts.nodes or () if n.ahead_s is not None}
    if not known:
        return _unknown("nodes' clocks", "no node has told its time")
    return _in_time("nodes' clocks", known)


def node_engines(facts: Facts) -> Finding:
    """On which nodes containers can run."""
    name = "nodes' engines"
    asked = [node for node in facts.nodes or () if not node.problem]
    if not asked:
        return _unknown(name, "no node has answered")
    able = [f"{node.name} ({node.engine})" for node in asked if node.engine]
    unable = [node for node in asked if not node.engine]
    if not unable:
        return _ok(name, f"Docker on {', '.join(able)}")
    told = f"Docker on {', '.join(able) or 'no node'}; not on {unable[0].name}"
    why = f": {unable[0].engine_problem}" if unable[0].engine_problem else ""
    more = f", and {len(unable) - 1} more" if len(unable) > 1 else ""
    fix = "container jobs fail there: install Docker, or place them by label_selector."
    return _warn(name, f"{told}{why}{more}", fix)


def _compared(name: str, here: Software, there: Software, who: str) -> Finding:
    if there.ray != here.ray or there.python != here.python:
        told = (
            f"Ray {there.ray} on Python {there.python} at {who}, {here.ray} on {here.python} here"
        )
        return _fail(name, told, "install the same Ray and Python on both sides.")
    if there.raysched != here.raysched:
        told = f"raysched {there.raysched} at {who}, {here.raysched} here"
        return _warn(name, told, "install the same raysched, then start the scheduler again.")
    return _ok(name, f"raysched {there.raysched}, Ray {there.ray} on both sides")


def _in_time(name: str, ahead: dict[str, float]) -> Finding:
    who = max(ahead, key=lambda each: abs(ahead[each]))
    off = ahead[who]
    told = f"{who} is {length(abs(off))} {'ahead of' if off > 0 else 'behind'} this machine"
    fix = "let NTP keep both clocks: slots are decided by the scheduler's."
    if abs(off) >= WRONG_S:
        return _fail(name, told, fix)
    return _warn(name, told, fix) if abs(off) >= DRIFT_S else _ok(name, told)


def _ok(name: str, evidence: str) -> Finding:
    return Finding(check=name, level=Level.OK, evidence=evidence)


def _warn(name: str, evidence: str, fix: str) -> Finding:
    return Finding(check=name, level=Level.WARN, evidence=evidence, fix=fix)


def _fail(name: str, evidence: str, fix: str) -> Finding:
    return Finding(check=name, level=Level.FAIL, evidence=evidence, fix=fix)


def _unknown(name: str, evidence: str) -> Finding:
    return Finding(check=name, level=Level.UNKNOWN, evidence=evidence)
