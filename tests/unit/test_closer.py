"""An attempt that outlasts its task: it is ended beside the next one, and its end is told."""

import threading

from raysched.cluster import mail
from raysched.cluster.attempts import Setting
from raysched.cluster.closer import AT_ONCE, Closer
from raysched.core.model import Outcome
from raysched.core.orders import Ended
from raysched.core.states import Event
from support import until

SETTING = Setting(home="/home", launcher="launcher", incarnation="1")


class Attempt:
    """An attempt whose end takes until it may."""

    def __init__(self, key):
        self.key, self.begun, self.may = key, threading.Event(), threading.Event()

    def end(self, untold):
        self.begun.set()
        assert self.may.wait(10)
        return Ended(key=self.key, outcome=Outcome(event=Event.SUCCEED), lines=list(untold))


class Launcher:
    """Takes letters, or whatever it is made to answer first."""

    def __init__(self, *answers):
        self.answers, self.taken = list(answers), []

    def tell(self, setting, serial, letters):
        if self.answers:
            return self.answers.pop(0)
        self.taken += [(serial, mail.open_report(letter).key) for letter in letters]
        return True


def unfit():
    raise AssertionError("the worker is fit")


def test_an_attempt_is_ended_in_its_own_time():
    launcher, one = Launcher(), Attempt("a#1")
    closer = Closer(launcher.tell, unfit, again_s=0)
    closer.take(SETTING, 7, one, [])
    assert one.begun.wait(10)
    assert closer.busy
    assert launcher.taken == []
    one.may.set()
    closer.rest(10)
    assert launcher.taken == [(7, "a#1")]
    assert not closer.busy


def test_a_short_end_does_not_wait_for_a_long_one():
    launcher, long, short = Launcher(), Attempt("a#1"), Attempt("b#1")
    closer = Closer(launcher.tell, unfit)
    short.may.set()
    closer.take(SETTING, 1, long, [])
    closer.take(SETTING, 2, short, [])
    until(lambda: launcher.taken == [(2, "b#1")])
    long.may.set()
    closer.rest(10)
    assert launcher.taken == [(2, "b#1"), (1, "a#1")]


def test_ends_do_not_pile_up():
    launcher = Launcher()
    attempts = [Attempt(str(n)) for n in range(AT_ONCE + 1)]
    closer = Closer(launcher.tell, unfit)

    def work():
        for each in attempts:
            closer.take(SETTING, 1, each, [])

    worker = threading.Thread(target=work)
    worker.start()
    assert all(each.begun.wait(10) for each in attempts[:-1])
    assert not attempts[-1].begun.wait(0.1)
    attempts[0].may.set()
    assert attempts[-1].begun.wait(10)
    for each in attempts:
        each.may.set()
    worker.join(10)
    closer.rest(10)
    assert len(launcher.taken) == AT_ONCE + 1


def test_an_end_is_told_until_the_launcher_answers():
    launcher, one = Launcher(None, None), Attempt("a#1")
    one.may.set()
    closer = Closer(launcher.tell, unfit, again_s=0)
    closer.take(SETTING, 1, one, [])
    closer.rest(10)
    assert launcher.taken == [(1, "a#1")]


def test_another_launcher_is_not_told_twice():
    launcher, one = Launcher(False), Attempt("a#1")
    one.may.set()
    closer = Closer(launcher.tell, unfit, again_s=0)
    closer.take(SETTING, 1, one, [])
    closer.rest(10)
    assert launcher.taken == []


def test_a_worker_whose_attempt_cannot_be_ended_is_unfit():
    class Broken(Attempt):
        def end(self, untold):
            raise MemoryError

    found = []
    closer = Closer(Launcher().tell, lambda: found.append("unfit"))
    closer.take(SETTING, 1, Broken("a#1"), [])
    closer.rest(10)
    assert found == ["unfit"]


def test_who_needs_the_process_for_himself_waits_only_so_long():
    one = Attempt("a#1")
    closer = Closer(Launcher().tell, unfit, again_s=0)
    assert closer.rest(0)
    closer.take(SETTING, 1, one, [])
    assert not closer.rest(0.01)
    one.may.set()
    assert closer.rest(10)
