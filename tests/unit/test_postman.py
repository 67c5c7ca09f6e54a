"""How news reach the scheduler: none is lost, none overtakes another, many travel together."""

import queue
import threading

from raysched.cluster.mail import Kind, ReportLetter
from raysched.cluster.postman import Postman

SOON_S = 10


def letter(n):
    return ReportLetter(f"run#{n}", Kind.END, b"")


class Scheduler:
    """Takes letters as it is told to: acknowledges them, or does not answer."""

    def __init__(self, under_way=1):
        self.under_way = under_way
        self.answers = queue.SimpleQueue()
        self.journeys = queue.SimpleQueue()
        self.settled = queue.SimpleQueue()
        self.postman = Postman(
            deliver=self._deliver,
            delivered=self.settled.put,
            under_way=lambda: self.under_way,
            again_s=0.001,
        )

    def _deliver(self, letters):
        self.journeys.put(list(letters))
        return self.answers.get()

    def next(self):
        return self.journeys.get(timeout=SOON_S)


def test_the_news_of_an_attempt_that_is_alone_leave_at_once():
    scheduler = Scheduler()
    scheduler.postman.post(letter(1))
    assert scheduler.next() == [letter(1)]


def test_what_is_not_acknowledged_is_told_again_as_it_was_before_anything_else():
    scheduler = Scheduler()
    scheduler.postman.post(letter(1))
    assert scheduler.next() == [letter(1)]
    scheduler.postman.post(letter(2))
    for _ in range(3):
        scheduler.answers.put(False)
        assert scheduler.next() == [letter(1)]
    assert scheduler.settled.empty()
    scheduler.answers.put(True)
    assert scheduler.settled.get(timeout=SOON_S) == [letter(1)]
    assert scheduler.next() == [letter(2)]


def test_what_gathers_while_others_are_told_travels_together_and_in_order():
    scheduler = Scheduler(under_way=10_000)
    scheduler.postman.post(letter(0))
    assert scheduler.next() == [letter(0)]
    for n in range(1, 601):
        scheduler.postman.post(letter(n))
    scheduler.answers.put(True)
    assert scheduler.next() == [letter(n) for n in range(1, 501)]
    scheduler.answers.put(True)
    assert scheduler.next() == [letter(n) for n in range(501, 601)]


def test_what_a_task_left_to_tell_travels_with_what_was_told_before_its_end():
    scheduler = Scheduler(under_way=100)
    scheduler.postman.post(letter(0))
    assert scheduler.next() == [letter(0)]
    threads = []

    def work():
        threads.append(threading.current_thread().name)
        scheduler.postman.post(letter(2))

    scheduler.postman.post(letter(1))
    scheduler.postman.do(work)
    scheduler.answers.put(True)
    assert scheduler.next() == [letter(1), letter(2)]
    assert threads == ["raysched-postman"]


def test_what_cannot_be_done_keeps_no_news_from_travelling():
    scheduler = Scheduler()

    def fail():
        raise ValueError("'later' is not a valid Kind")

    scheduler.postman.do(fail)
    scheduler.postman.post(letter(1))
    assert scheduler.next() == [letter(1)]
