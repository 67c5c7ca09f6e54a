"""The lines of queued runs, against a naive model, and in named cases."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raysched.core.dispatch import Dispatch, Wait

WINDOW = 2
JOBS, SHAPES = ["etl", "train", "report"], ["cpu", "gpu"]


class DispatchModel(RuleBasedStateMachine):
    """Places are counted by hand, and nobody who could go may be left behind."""

    def __init__(self):
        super().__init__()
        self.dispatch = Dispatch(WINDOW)
        self.limits = dict.fromkeys(JOBS)
        for job in JOBS:
            self.dispatch.set_limit(job, None)
        self.waiting, self.unstarted, self.live, self.count = {}, {}, {}, 0
        self.asked, self.seen, self.over = {}, 0, {}

    def places(self, job):
        return {run for run, (j, *_) in self.live.items() if j == job and run in self.asked}

    @rule(job=st.sampled_from(JOBS), limit=st.sampled_from([None, 1, 2]))
    def set_limit(self, job, limit):
        self.dispatch.set_limit(job, limit)
        self.limits[job] = limit
        held = len(self.dispatch._lines[job].holders)
        self.over[job] = max(held, limit or 0)

    @rule(
        job=st.sampled_from(JOBS),
        shape=st.sampled_from(SHAPES),
        priority=st.sampled_from([-1, 0, 0, 0, 5]),
    )
    def enqueue(self, job, shape, priority):
        self.count += 1
        run = f"{job}-{self.count}"
        self.live[run] = (job, shape, priority)
        self.waiting[run] = (-priority, self.count)
        self.dispatch.enqueue(run, job, shape, priority)

    @rule()
    def take(self):
        lines = {run: key for run, key in self.waiting.items() if self.has_place(run)}
        free = {shape: WINDOW - self.taken(shape) for shape in SHAPES}
        taken = self.dispatch.take()
        assert len(set(taken)) == len(taken)
        for shape in SHAPES:
            eligible = sorted((k, run) for run, k in lines.items() if self.live[run][1] == shape)
            got = [run for run in taken if self.live[run][1] == shape]
            assert len(got) == min(len(eligible), max(0, free[shape]))
            assert got == [run for _, run in eligible][: len(got)]
        for run in taken:
            del self.waiting[run]
            self.unstarted[run] = self.live[run][1]

    def has_place(self, run):
        return run in self.dispatch._lines[self.live[run][0]].holders

    def taken(self, shape):
        return sum(each == shape for each in self.unstarted.values())

    @precondition(lambda self: self.unstarted)
    @rule(data=st.data())
    def start(self, data):
        run = data.draw(st.sampled_from(sorted(self.unstarted)))
        self.dispatch.started(run)
        self.dispatch.started(run)
        del self.unstarted[run]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def end(self, data):
        run = data.draw(st.sampled_from(sorted(self.live)))
        self.dispatch.ended(run, self.live.pop(run)[0])
        self.waiting.pop(run, None)
        self.unstarted.pop(run, None)

    @precondition(lambda self: set(self.live) - set(self.waiting) - set(self.unstarted))
    @rule(data=st.data())
    def retry(self, data):
        ran = sorted(set(self.live) - set(self.waiting) - set(self.unstarted))
        run = data.draw(st.sampled_from(ran))
        self.count += 1
        job, shape, priority = self.live[run]
        self.waiting[run] = (-priority, self.count)
        self.dispatch.enqueue(run, job, shape, priority)

    @invariant()
    def limits_hold_and_no_place_is_left_free(self):
        for job, limit in self.limits.items():
            lined = [run for run in self.live if self.live[run][0] == job]
            held = [run for run in lined if self.has_place(run)]
            self.over[job] = min(self.over.get(job, 0), len(held))
            if limit is not None:
                assert len(held) <= max(limit, self.over[job])
            if len(held) < len(lined):
                assert limit is not None
                assert len(held) >= limit
        for shape in SHAPES:
            assert self.taken(shape) <= WINDOW

    @invariant()
    def whoever_waits_says_why(self):
        for run in self.live:
            assert bool(self.dispatch.wait(run)) == (run in self.waiting)
        assert self.dispatch.wait("nobody") is None


TestDispatch = DispatchModel.TestCase
TestDispatch.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def ready(window=64, **limits):
    dispatch = Dispatch(window)
    for job, limit in limits.items():
        dispatch.set_limit(job, limit)
    return dispatch


def test_higher_priority_goes_first_and_then_the_older_run():
    dispatch = ready(etl=None)
    for run, priority in [("old", 0), ("low", -1), ("high", 5), ("young", 0)]:
        dispatch.enqueue(run, "etl", "cpu", priority)
    assert dispatch.take() == ["high", "old", "young", "low"]


def test_a_shape_that_fits_no_node_blocks_no_other():
    dispatch = ready(window=2, etl=None)
    for n in range(5):
        dispatch.enqueue(f"gpu-{n}", "etl", "gpu", 9)
    dispatch.enqueue("cpu", "etl", "cpu", 0)
    assert sorted(dispatch.take()) == ["cpu", "gpu-0", "gpu-1"]
    assert dispatch.wait("gpu-2") == Wait(ahead=2)
    dispatch.enqueue("cpu-2", "etl", "cpu", 0)
    assert dispatch.take() == ["cpu-2"]


def test_a_waiting_run_names_the_run_it_waits_for():
    dispatch = ready(etl=1)
    dispatch.enqueue("first", "etl", "cpu", 0)
    dispatch.enqueue("second", "etl", "cpu", 0)
    assert dispatch.take() == ["first"]
    assert dispatch.wait("second") == Wait(holders=("first",), limit=1)
    dispatch.ended("first", "etl")
    assert dispatch.take() == ["second"]


def test_a_run_that_is_tried_again_keeps_its_place():
    dispatch = ready(etl=1)
    dispatch.enqueue("first", "etl", "cpu", 0)
    dispatch.enqueue("second", "etl", "cpu", 9)
    assert dispatch.take() == ["first"]
    dispatch.started("first")
    dispatch.enqueue("first", "etl", "cpu", 0)
    assert dispatch.take() == ["first"]


def test_adopted_runs_count_before_any_other_is_let_in():
    dispatch = ready(etl=1)
    dispatch.hold("adopted", "etl")
    dispatch.enqueue("next", "etl", "cpu", 0)
    assert dispatch.take() == []
    dispatch.ended("adopted", "etl")
    assert dispatch.take() == ["next"]


def test_a_lower_limit_stops_nobody_and_a_higher_one_lets_more_in():
    dispatch = ready(etl=2)
    for n in range(4):
        dispatch.enqueue(f"run-{n}", "etl", "cpu", 0)
    assert dispatch.take() == ["run-0", "run-1"]
    dispatch.set_limit("etl", 1)
    dispatch.ended("run-0", "etl")
    assert dispatch.take() == []
    dispatch.set_limit("etl", None)
    assert dispatch.take() == ["run-2", "run-3"]
