"""What is left of an attempt once its container is dead, and who sees to it."""

import pytest

import docker_engine
from raysched.cluster.attempts import Here, Rest, Setting
from raysched.cluster.attempts.contained import ContainedAttempt
from raysched.core.orders import Order, Shape
from raysched.core.states import Event
from raysched.runners.container import room
from raysched.spec.container import Container, Pull
from support import until

HERE = Here(node_id="node", node_ip="127.0.0.1", pid=1)
SETTING = Setting(home="/home", launcher="launcher", incarnation="1")


@pytest.fixture
def contained(engine, rooms, key, monkeypatch):
    """Makes `ContainedAttempt`s of one attempt, each as another worker would."""
    monkeypatch.setenv("RAYSCHED_NODE_DIR", str(rooms))
    made = []

    def make(script: str, **given) -> ContainedAttempt:
        given = {"image": docker_engine.BASE, "command": ("sh", "-c", script), **given}
        order = Order(
            key=key,
            run_id="etl@2026-11-22T06:00:00Z",
            attempt=1,
            job="etl",
            version="v",
            code_hash="h",
            shape=Shape(key="{}", options={"num_cpus": 1, "memory": 64 * 1024 * 1024}),
            container=Container(**given),
        )
        made.append(ContainedAttempt(HERE, SETTING, order, b"", ()))
        return made[-1]

    yield make
    for one in made:
        one._watched.close(b"over")


def told(ended):
    return ended.outcome.event, ended.outcome.reason, [line.text for line in ended.lines]


def test_an_attempt_that_left_nothing_may_be_ended_beside_the_next(contained):
    one = contained("echo over; exit 3")
    assert one.run() is Rest.END_BESIDE
    assert told(one.end([])) == (Event.FAIL, "exit code 3", ["over"])


def test_an_attempt_that_left_a_result_keeps_its_lease_until_it_is_taken_in(contained):
    assert contained("echo x > /raysched/out/note.txt").run() is Rest.END


def test_an_attempt_that_could_not_begin_is_ended_at_once(contained):
    one = contained("true", image="raysched/nowhere:1", pull=Pull.NEVER)
    assert one.run() is Rest.END
    assert one.end([]).outcome.event is Event.FAIL


def test_who_comes_to_take_over_what_is_being_ended_tells_the_same_end(contained, background):
    first, second = contained("echo over; exit 3"), contained("false")
    assert first.run() is Rest.END_BESIDE
    ran = background(second.run)
    ended = first.end([])
    assert ran.result() is Rest.END
    assert second.end([]) == ended


def test_what_another_process_is_at_is_left_to_it(contained, monkeypatch):
    first, second = contained("true"), contained("false")
    assert first.run() is Rest.END_BESIDE
    with monkeypatch.context() as patch:
        patch.setattr(room.Room.enter, "__defaults__", (0.05,))
        assert second.run() is Rest.NOTHING
    assert first.end([]).outcome.event is Event.SUCCEED
    until(lambda: second.farewell() is not None)
