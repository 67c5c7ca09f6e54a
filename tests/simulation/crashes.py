"""A scheduler that is killed at its durable steps, and the promises that its record must keep.

`Chaos` drives a `World` by a seed: jobs, API calls, deaths and downtimes. `check` reads
nothing but what a scheduler leaves behind: the rows on the disk, the commits in order,
and the launcher's own record of what it executed.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from raysched.core.backfill import Reprocess, SlotRun
from raysched.core.model import Decision, Stop
from raysched.core.ports import Changes, JobRecord
from raysched.core.states import Event, State
from raysched.engine.messages import (
    Backfill,
    Cancel,
    Delete,
    Deploy,
    Deployment,
    LauncherDown,
    Pause,
    Reports,
    Resume,
    TriggerRuns,
)
from raysched.errors import InputError, NotFound
from raysched.spec.definition import JobSpec
from raysched.spec.job import Job, job
from raysched.spec.policies import Retry
from raysched.spec.schedules import AfterEnd, after_end, at, every, next_slot
from raysched.spec.units import from_us, iso
from raysched.testing import Act, World

START = datetime(2026, 11, 22, tzinfo=UTC)


class Crash(BaseException):
    """The scheduler's process dies here."""


class Faults:
    """Counts durable steps, and kills the scheduler at those that `dies` says."""

    def __init__(self, dies: Callable[[int], bool]) -> None:
        self.dies = dies
        self.steps = 0
        self.armed = True
        self.names: list[str] = []

    def step(self, name: str) -> None:
        """Pass a point at which a process may die."""
        if self.armed:
            self.steps += 1
            self.names.append(name)
            if self.dies(self.steps):
                raise Crash(name)


@dataclass
class Journal:
    """What has become durable, in order."""

    faults: Faults
    commits: list[Changes] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: START


class CrashingStore:
    """A store whose process may die before and right after each commit."""

    def __init__(self, inner, journal: Journal) -> None:
        self._inner, self._journal = inner, journal
        self.code, self.has_any_run, self.has_job = inner.code, inner.has_any_run, inner.has_job

    def open(self):
        self._journal.faults.step("open: before")
        snapshot = self._inner.open()
        self._journal.faults.step("open: after")
        return snapshot

    def commit(self, changes: Changes) -> None:
        self._journal.faults.step("commit: before")
        self._inner.commit(changes)
        self._journal.commits.append(changes)
        self._journal.times.append(self._journal.now())
        self._journal.faults.step("commit: after")


class CrashingLauncher:
    """A launcher to which only a part of the orders may get before the scheduler dies."""

    def __init__(self, inner, faults: Faults, journal: Journal) -> None:
        self._inner, self._faults, self._journal = inner, faults, journal
        self.overlaps: list[str] = []
        self.undurable: list[str] = []

    def attach(self, epoch: int) -> None:
        self._faults.step("attach: before")
        self._inner.attach(epoch)
        self._faults.step("attach: after")

    def launch(self, tasks) -> None:
        for order in (order for task in tasks for order in task):
            self._faults.step("launch: before one")
            others = [k for k in self._inner.alive if k.rpartition("#")[0] == order.run_id]
            self.overlaps += [k for k in others if k != order.key]
            if not self._is_durable(order):
                self.undurable.append(order.key)
            self._inner.launch([[order]])
        self._faults.step("launch: after")

    def _is_durable(self, order) -> bool:
        for changes in reversed(self._journal.commits):
            if order.run_id in changes.runs:
                run = changes.runs[order.run_id]
                return run is not None and run.attempt == order.attempt
        return False

    def stop(self, orders) -> None:
        for order in orders:
            self._faults.step("stop: before one")
            self._inner.stop([order])
        self._faults.step("stop: after")


class CrashingResults:
    """Results whose publisher may die before and right after a file appears or is removed."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.visible: dict[str, str] = {}
        self.partial: dict[str, str] = {}
        self.removed: set[str] = set()

    def publish(self, run_id: str, job: str, hidden: str) -> str:
        self._faults.step("publish: before")
        path = f"results/{job}/{run_id}.parquet"
        assert hidden not in self.removed, "a result is removed before its attempt is accepted"
        self.visible[path] = hidden
        self._faults.step("publish: after")
        return path

    def publish_partial(self, run_id: str, job: str, attempt: int, hidden: str) -> str:
        self._faults.step("publish partial: before")
        path = f"partial/{job}/{run_id}#{attempt}.ipynb"
        assert hidden not in self.removed, "a notebook is removed before its attempt is accepted"
        assert self.partial.setdefault(path, hidden) == hidden, "two attempts share a place"
        self._faults.step("publish partial: after")
        return path

    def discard(self, hidden: str) -> None:
        if hidden in {*self.removed, *self.visible.values(), *self.partial.values()}:
            return  # there is nothing to remove
        self._faults.step("discard: before")
        self.removed.add(hidden)
        self._faults.step("discard: after")


class Scene:
    """A world whose scheduler dies by `faults` and is always started again."""

    def __init__(self, faults: Faults, act: Callable[[random.Random], Act], seed: int) -> None:
        self.seed, self.faults, self._act = seed, faults, act
        self.journal = Journal(faults)
        self.results = CrashingResults(faults)
        self.rng = random.Random(f"{seed} world")
        self.deaths = 0
        self.crashes = 0
        self.mail: list[Reports] = []
        self.acknowledged: list[tuple[Any, Any]] = []
        self.world = World(
            start=START,
            script=lambda order: self.act(order.key),
            store=lambda store: CrashingStore(store, self.journal),
            launcher=self._launcher,
            results=self.results,
            window=4,
        )
        self.journal.now = self.world.clock.now
        self.start()

    def _launcher(self, inner):
        self.launcher = CrashingLauncher(inner, self.faults, self.journal)
        return self.launcher

    def act(self, key: str) -> Act:
        """Return what the attempt of a key does: the same in every run of a seed."""
        act = self._act(random.Random(f"{self.seed} {key}"))
        hidden = f".hidden-{key}"
        if act.event is Event.FAIL:
            return replace(act, partial=hidden)
        return replace(act, result=hidden) if act.result else act

    def start(self) -> None:
        """Start a scheduler, however often it takes."""
        while self.world.engine is None:
            try:
                self.world.start_scheduler()
            except Crash:
                self._died()

    def _died(self) -> None:
        self.crashes += 1
        self.world.kill_scheduler()
        pause = timedelta(seconds=self.rng.choice([0, 0.05, 1, 4, 30]))
        self.world.clock.advance(pause)

    def run_for(self, length: timedelta) -> None:
        """Let time pass."""
        end = self.world.clock.now() + length
        while self.world.clock.now() < end:
            self.start()
            try:
                self.world.run_until(end)
            except Crash:
                self._died()

    def ask(self, message: Any) -> Any:
        """Ask as a client does: again after a crash, until there is an answer."""
        while True:
            self.start()
            try:
                reply = self.world.ask(message)
            except Crash:
                self._died()
                if isinstance(message, TriggerRuns | Backfill):
                    message = replace(message, again=True)
            except NotFound:
                if isinstance(message, Delete):  # by the ask before the crash
                    self.acknowledged.append((message, None))
                return None
            except InputError:  # such as a backfill of a job without a schedule
                return None
            else:
                self.acknowledged.append((message, reply))
                return reply

    def deploy(self, *jobs: Job) -> None:
        """Deploy jobs."""
        each = [Deployment(spec=job.spec, code_hash="c", code=b"") for job in jobs]
        self.ask(Deploy(deployments=each))

    def backfill(self, name: str, past: timedelta, request: str, **options: Any) -> None:
        """Backfill a job's last slots, knowing of them what the history has."""
        now, rows = self.world.clock.now(), self.world.disk.dataset("runs")
        known = [
            SlotRun(
                run_id=row["run_id"],
                slot=from_us(row["slot"]),
                status=State(row["status"]),
                created_at=from_us(row["created_at"]),
            )
            for row in rows
            if row["job"] == name and row["slot"] is not None
        ]
        self.ask(
            Backfill(
                job=name,
                start=now - past,
                end=now,
                moment=now,
                request=request,
                known=known,
                **options,
            )
        )

    def downtime(self, length: timedelta) -> None:
        """Kill the scheduler for a while; the launcher's attempts go on."""
        self.world.kill_scheduler()
        self.world.run_until(self.world.clock.now() + length)
        self.start()

    def launcher_dies(self) -> None:
        """Kill the launcher; what it had to tell may still arrive, late."""
        late = [each for each in self.world.launcher.collect() if isinstance(each, Reports)]
        self.mail += late
        if self.rng.random() < 0.5:
            self.ask(LauncherDown(reason="it does not answer"))
        self.deaths += 1
        self.world.launcher.die()

    def eavesdrop(self) -> None:
        """Keep a copy of the news that is under way, to be told again much later."""
        self.mail += [each for each in self.world.launcher.collect() if isinstance(each, Reports)]

    def late_mail(self) -> None:
        """Deliver some old news a second time."""
        if self.mail:
            self.ask(self.rng.choice(self.mail))

    def drain(self) -> None:
        """Stop all trouble, let no slot come any more, and wait for the end of every run."""
        self.faults.armed = False
        self.start()
        self.world.run_until(self.world.clock.now())
        self.stalled = [name for name in self.world.disk.jobs if self._is_stalled(name)]
        for name in sorted(self.world.disk.jobs):
            record = self.world.disk.jobs[name]
            spec = replace(record.current.spec, schedules=())
            self.ask(Deploy(deployments=[Deployment(spec=spec, code_hash="c", code=b"")]))
        self.world.run_until(self.world.clock.now() + timedelta(days=2))

    def _is_stalled(self, name: str) -> bool:
        """Return whether an after-end job has neither a run nor a slot to come."""
        record, disk = self.world.disk.jobs[name], self.world.disk
        chains = [s for s in record.current.spec.schedules if isinstance(s, AfterEnd)]
        runs = [run for run in disk.runs.values() if run.job == name]
        following = next_slot(chains, record.decided, record.last_end)
        return bool(chains) and not runs and following is None

    @property
    def digest(self) -> str:
        """Return a fingerprint of all that happened."""
        disk = self.world.disk
        text = repr((disk.rows, disk.jobs, self.world.launcher.executions, self.faults.names))
        return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------ the promises


def check(scene: Scene) -> None:
    """Check the promises of the design on what a drained scene has left behind."""
    _each_slot_is_decided_once(scene)
    _each_fired_slot_has_one_run(scene)
    _nothing_is_executed_twice_or_side_by_side(scene)
    _each_backfill_is_made_once_and_keeps_to_its_places(scene)
    _what_was_acknowledged_is_there(scene)
    _each_run_ended_once_and_for_a_reason(scene)
    _attempts_are_counted_and_tell_the_truth(scene)
    _what_a_failed_attempt_leaves_is_kept_and_named(scene)
    _each_line_is_recorded_once(scene)
    assert scene.stalled == []


def _reigns(scene: Scene):
    """Yield each version of each job with its time: its spec, from and up to when."""
    log = defaultdict(list)
    for moment, changes in zip(scene.journal.times, scene.journal.commits, strict=True):
        for name, record in changes.jobs.items():
            log[name].append((moment, record))
    for name, records in log.items():
        reign: JobRecord | None = None
        first = decided = None
        for moment, record in records:
            changed = record is None or reign is None or record.deployed_at != reign.deployed_at
            if changed and reign is not None:
                yield name, reign.current.spec, first, max(moment, decided)
            if record is None:
                reign = None
                continue
            if changed:
                first = record.decided
            reign, decided = record, record.decided
        if reign is not None:
            yield name, reign.current.spec, first, decided


def _slots(spec: JobSpec, after: datetime, until: datetime) -> list[datetime]:
    found, slot = [], after
    while (slot := next_slot(spec.schedules, slot, after)) is not None and slot <= until:
        found.append(slot)
    return found


def _each_slot_is_decided_once(scene: Scene) -> None:
    rows = scene.world.disk.dataset("decisions")
    spans = defaultdict(list)
    for row in rows:
        assert row["reason"] or row["decision"] == Decision.FIRED, row
        assert row["slot"] <= row["last_slot"] <= row["decided_at"]
        spans[row["job"]].append((from_us(row["slot"]), from_us(row["last_slot"])))
    claimed = Counter()
    for name, spec, first, last in _reigns(scene):
        if any(isinstance(each, AfterEnd) for each in spec.schedules):
            claimed[name] += sum(first < slot <= last for slot, _ in spans[name])
            continue
        due = _slots(spec, first, last)
        for slot in due:
            owners = [span for span in spans[name] if span[0] <= slot <= span[1]]
            assert len(owners) == 1, f"{name} slot {iso(slot)} has the decisions {owners}"
        ends = {moment for span in spans[name] for moment in span if first < moment <= last}
        assert ends <= set(due), f"{name} decided slots that it does not have"
        claimed[name] += sum(first < slot <= last for slot, _ in spans[name])
    for name, found in spans.items():
        assert claimed[name] == len(found), f"{name} decided slots outside of its life"
        assert len({slot for slot, _ in found}) == len(found)


def _each_fired_slot_has_one_run(scene: Scene) -> None:
    disk = scene.world.disk
    fired = [r["run_id"] for r in disk.dataset("decisions") if r["decision"] == Decision.FIRED]
    assert all(
        (row["run_id"] is not None) == (row["decision"] == Decision.FIRED)
        for row in disk.dataset("decisions")
    )
    made = [row["run_id"] for row in disk.dataset("runs") if row["trigger"] == "schedule"]
    assert sorted(fired) == sorted(made)
    assert len(set(made)) == len(made)


def _nothing_is_executed_twice_or_side_by_side(scene: Scene) -> None:
    keys = [key for key, _ in scene.world.launcher.executions]
    assert len(set(keys)) == len(keys), [key for key, n in Counter(keys).items() if n > 1]
    assert scene.launcher.overlaps == []
    assert scene.launcher.undurable == []
    recorded = {f"{r['run_id']}#{r['attempt']}" for r in scene.world.disk.dataset("attempts")}
    assert set(keys) <= recorded


def _each_backfill_is_made_once_and_keeps_to_its_places(scene: Scene) -> None:
    chosen = {
        row["run_id"]: row["slot"]
        for message, reply in scene.acknowledged
        if isinstance(message, Backfill)
        for row in reply
        if row["action"] == "run"
    }
    made = [row for row in scene.world.disk.dataset("runs") if row["trigger"] == "backfill"]
    assert {row["run_id"]: from_us(row["slot"]) for row in made} == chosen
    assert len(made) == len(chosen)
    under_way: dict[str, set[str]] = defaultdict(set)
    for changes in scene.journal.commits:
        for run_id, run in changes.runs.items():
            if run is None:
                for line in under_way.values():
                    line.discard(run_id)
            elif run.line is not None and run.attempt:
                under_way[run.line.name].add(run_id)
                assert len(under_way[run.line.name]) <= run.line.limit


def _what_was_acknowledged_is_there(scene: Scene) -> None:
    disk, runs = scene.world.disk, {row["run_id"] for row in scene.world.disk.dataset("runs")}
    versions, paused = {}, {}
    for message, reply in scene.acknowledged:
        match message:
            case Deploy():
                for each, done in zip(message.deployments, reply, strict=True):
                    versions[each.spec.name] = done["version"]
                    assert done["paused"] == (paused.get(each.spec.name) is not None)
                    assert (each.spec.name, done["version"]) in disk.versions
            case TriggerRuns():
                assert set(reply) <= runs
                assert len(set(reply)) == len(message.params)
            case Pause():
                paused.update(dict.fromkeys(reply, message.note))
            case Resume():
                paused.update(dict.fromkeys(reply))
            case Delete():
                versions.pop(message.job, None)
                paused.pop(message.job, None)
    assert {name: record.current.version for name, record in disk.jobs.items()} == versions
    for name, record in disk.jobs.items():
        assert record.pause == paused.get(name)


def _each_run_ended_once_and_for_a_reason(scene: Scene) -> None:
    disk = scene.world.disk
    assert disk.runs == {}, {run.run_id: run.state for run in disk.runs.values()}
    ids = [row["run_id"] for row in disk.dataset("runs")]
    assert len(set(ids)) == len(ids), [run for run, n in Counter(ids).items() if n > 1]
    for row in disk.dataset("runs"):
        assert State(row["status"]).final
        assert row["reason"] or row["status"] == State.SUCCEEDED, row
        assert row["finished_at"] >= row["created_at"]


_STATUS = {
    Event.SUCCEED: State.SUCCEEDED,
    Event.FAIL: State.FAILED,
    Event.TIME_OUT: State.TIMED_OUT,
    Event.LOSE: State.LOST,
}


def _attempts_are_counted_and_tell_the_truth(scene: Scene) -> None:
    disk = scene.world.disk
    began = dict(scene.world.launcher.executions)
    attempts = defaultdict(list)
    for row in disk.dataset("attempts"):
        attempts[row["run_id"]].append(row)
    stopped = {
        run.key: run.stop
        for changes in scene.journal.commits
        for run in changes.runs.values()
        if run is not None and run.stop is not None
    }
    for run in disk.dataset("runs"):
        rows = attempts.pop(run["run_id"], [])
        assert [row["attempt"] for row in rows] == list(range(1, run["attempts"] + 1)), run
        for row in rows:
            key = f"{row['run_id']}#{row['attempt']}"
            act, status = scene.act(key), State(row["status"])
            if key in stopped:
                meant = {Stop.CANCELLED: State.CANCELLED, Stop.TIMED_OUT: State.TIMED_OUT}
                assert status is meant[stopped[key]], (key, row)
            elif status is State.LOST and act.event is not Event.LOSE:
                assert scene.deaths > 0
                assert "died" in row["reason"]
            else:
                assert status is _STATUS[act.event], (key, row)
                assert key in began
            assert row is rows[-1] or status in (State.FAILED, State.LOST, State.TIMED_OUT)
            assert row["reason"] or status is State.SUCCEEDED
        cancelled_between = run["status"] == State.CANCELLED
        if rows and not cancelled_between and run["status"] != State.TIMED_OUT:
            assert run["status"] == rows[-1]["status"]
        if run["status"] == State.SUCCEEDED:
            key = f"{run['run_id']}#{run['attempts']}"
            assert rows
            if scene.act(key).result:
                assert scene.results.visible[run["result_path"]] == f".hidden-{key}"
        else:
            assert run["result_path"] is None
    assert not attempts


def _what_a_failed_attempt_leaves_is_kept_and_named(scene: Scene) -> None:
    rows = scene.world.disk.dataset("attempts")
    ran = {f"{row['run_id']}#{row['attempt']}": row for row in rows}
    failed = [key for key, row in ran.items() if row["status"] == State.FAILED]
    named = {key: row["partial_path"] for key, row in ran.items() if row["partial_path"]}
    assert set(failed) <= set(named)
    for key, path in named.items():
        assert scene.results.partial[path] == f".hidden-{key}"
    # A launcher may die before it tells an end again that a dead scheduler had begun to accept.
    for hidden in set(scene.results.partial.values()) - {f".hidden-{key}" for key in named}:
        assert ran[hidden.removeprefix(".hidden-")]["status"] == State.LOST
    for run in scene.world.disk.dataset("runs"):
        last = ran.get(f"{run['run_id']}#{run['attempts']}", {"partial_path": None})
        assert run["partial_path"] in (last["partial_path"], None)
        assert run["partial_path"] or run["status"] != State.FAILED


def _each_line_is_recorded_once(scene: Scene) -> None:
    lines = [(r["run_id"], r["attempt"], r["line_no"]) for r in scene.world.disk.dataset("logs")]
    assert len(set(lines)) == len(lines)
    told = Counter((run, attempt) for run, attempt, _ in lines)
    for row in scene.world.disk.dataset("attempts"):
        key = f"{row['run_id']}#{row['attempt']}"
        written = told[row["run_id"], row["attempt"]]
        assert written == row["log_lines"]
        if row["status"] in (State.SUCCEEDED, State.FAILED):
            assert written == scene.act(key).lines, key
        numbers = [n for run, attempt, n in lines if f"{run}#{attempt}" == key]
        assert numbers == list(range(1, len(numbers) + 1))


# ------------------------------------------------------------------ chaos by a seed


def noop():
    """Do nothing."""


def chaotic_act(rng: random.Random) -> Act:
    """Return what an attempt does, by a seed of its own."""
    event = rng.choices([Event.SUCCEED, Event.FAIL, Event.TIME_OUT], [8, 3, 1])[0]
    return Act(
        wait=timedelta(seconds=rng.choice([0, 0.002, 0.5, 8])),
        takes=timedelta(seconds=rng.choice([0.001, 0.05, 0.3, 3, 20, 90])),
        event=event,
        reason=rng.choice(["", "as the script says"]),
        lines=rng.choice([0, 1, 5]),
        result="yes" if event is Event.SUCCEED and rng.random() < 0.5 else None,
    )


def chaotic_job(name: str, rng: random.Random) -> Job:
    """Return a job with a random schedule and random policies."""
    schedule = rng.choice(
        [
            None,
            every(rng.choice(["1s", "7s", "1m", "5m"]), jitter=rng.choice([None, "5s"])),
            "*/2 * * * *",
            "H * * * *",
            after_end(rng.choice(["2s", "1m"])),
            [every("1m"), "*/3 * * * *"],
            [after_end("30s"), every("1m")],
            at(START + timedelta(seconds=rng.randrange(600))),
        ]
    )
    return job(
        name=name,
        schedule=schedule,
        retries=rng.choice(
            [0, 2, Retry(3, delay="5s", backoff=2), Retry(1, delay="1m"), Retry(2, delay="10ms")]
        ),
        timeout=rng.choice([None, None, "10s", "1m"]),
        queue_timeout=rng.choice([None, None, "5s", "1m"]),
        overlap=rng.choice(["skip", "queue", "replace", "allow"]),
        catchup=rng.choice(["none", "latest", "all"]),
        max_catchup=rng.choice([1, 3, 20]),
        misfire_grace=rng.choice([None, None, "1s", "1m"]),
        max_active=rng.choice([None, None, 1, 2]),
        num_cpus=rng.choice([1, 1, 2]),
        priority=rng.choice([0, 0, 5]),
    )(noop)


class Chaos(Scene):
    """A random life of some jobs, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.plan = random.Random(f"{seed} plan")
        rate = self.plan.choice([0, 0.002, 0.01, 0.05, 0.2])
        doom = random.Random(f"{seed} doom")
        super().__init__(Faults(lambda step: doom.random() < rate), chaotic_act, seed)

    def play(self, moves: int = 25) -> Chaos:
        """Live, and drain."""
        rng = self.plan
        names = [f"job-{n}" for n in range(rng.randint(1, 4))]
        self.deploy(*(chaotic_job(name, rng) for name in names))
        for n in range(moves):
            name = rng.choice(names)
            match rng.randrange(14):
                case 0:
                    self.deploy(chaotic_job(name, rng))
                case 1 | 2 | 3:
                    params = [{}] * rng.choice([1, 1, 3])
                    moment = self.world.clock.now()
                    self.ask(TriggerRuns(job=name, params=params, moment=moment, request=f"r{n}"))
                case 4:
                    self.ask(Pause(jobs=[name], note=rng.choice(["", "stop"])))
                case 5:
                    self.ask(Resume(jobs=[name]))
                case 6 | 7:
                    if self.world.disk.runs:
                        self.ask(Cancel(run_id=rng.choice(sorted(self.world.disk.runs))))
                case 8:
                    self.downtime(timedelta(seconds=rng.choice([0, 1, 9, 60, 400])))
                case 9:
                    self.launcher_dies()
                case 10:
                    self.eavesdrop()
                case 11:
                    self.late_mail()
                case 12:
                    self.backfill(
                        name,
                        timedelta(seconds=rng.choice([3, 40, 200])),
                        f"b{n}",
                        max_active=rng.choice([1, 3]),
                        reprocess=rng.choice(list(Reprocess)),
                    )
                case 13:
                    if rng.random() < 0.3:
                        self.ask(Delete(job=name))
            self.run_for(timedelta(seconds=rng.choice([0, 0.01, 0.2, 3, 20, 61])))
        self.drain()
        return self


# ------------------------------------------------------------------ one scripted story


def scripted_act(rng: random.Random) -> Act:
    """Return an attempt that fails at first sight of an odd number, and else leaves a result."""
    if rng.random() < 0.3:
        return Act(takes=timedelta(seconds=0.3), event=Event.FAIL, reason="odd", lines=3)
    return Act(takes=timedelta(seconds=rng.choice([0.05, 2, 40])), lines=4, result="yes")


class Story(Scene):
    """One story with each kind of step in it, in which the scheduler dies at step `k`."""

    def __init__(self, k: int) -> None:
        super().__init__(Faults(lambda step: step == k), scripted_act, seed=7)

    def play(self) -> Story:
        """Tell the story, and drain."""
        replacing = job(name="replacing", schedule=every("10s"), overlap="replace")(noop)
        caught_up = job(
            name="caught-up", schedule=every("8s"), catchup="all", retries=Retry(2, delay="2s")
        )(noop)
        chain = job(name="chain", schedule=after_end("6s"), timeout="5s")(noop)
        by_hand = job(name="by-hand", overlap="queue", queue_timeout="9s", retries=1)(noop)
        self.deploy(replacing, caught_up, chain, by_hand)
        self._trigger("first", 3)
        self.run_for(timedelta(seconds=25))
        self._trigger("second", 2)
        self.backfill("caught-up", timedelta(seconds=60), "past", max_active=2, reprocess="failed")
        self.ask(Pause(jobs=["replacing"], note="hold"))
        self.downtime(timedelta(seconds=20))
        self.ask(Cancel(run_id=sorted(self.world.disk.runs)[0]))
        self.run_for(timedelta(seconds=5))
        self.launcher_dies()
        self.deploy(chain.options(timeout="4s"))
        self.ask(Resume(jobs=["replacing"]))
        self.run_for(timedelta(seconds=20))
        self.late_mail()
        self.ask(Delete(job="caught-up"))
        self.run_for(timedelta(seconds=20))
        self.drain()
        return self

    def _trigger(self, request: str, n: int) -> None:
        moment = self.world.clock.now()
        self.ask(TriggerRuns(job="by-hand", params=[{}] * n, moment=moment, request=request))
