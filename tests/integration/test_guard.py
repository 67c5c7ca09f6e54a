"""The guard beside a worker: real processes, no Ray. A worker here is a plain Python that
runs a small script; what happens when it crashes comes first.

Nothing waits by the clock where an event will do: scripts report through a pipe, wait for
a line on their input, and a process is gone when its pidfd says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from raysched.errors import RayschedError
from raysched.runners.calls import last_words, stop, sweep
from raysched.runners.guard import procs
from raysched.runners.guard.caplog import LINE_MAX, CappedLog
from raysched.runners.watch import Guard
from raysched.runners.words import mark_of, read_lines

KEY = "flights-daily@2026-11-22T06:00:00Z#1"
PATIENCE_S = 20

PRELUDE = """
import ctypes, json, os, signal, subprocess, sys, threading, time
from dataclasses import asdict
from pathlib import Path
from raysched.runners.watch import Guard

KEY = "flights-daily@2026-11-22T06:00:00Z#1"
libc = ctypes.CDLL(None)      # lets the GIL go
holding = ctypes.PyDLL(None)  # holds it
reports = int(sys.argv[2])
os.set_inheritable(reports, False)

def report(value):
    os.write(reports, json.dumps(value).encode() + b"\\n")

def wait():
    assert os.read(0, 1), "the test is gone"

def watch(key=KEY, timeout_s=None, limit=8 << 20):
    guard.watch(key, timeout_s=timeout_s, log_limit_bytes=limit)

def release():
    report(asdict(guard.release()))

def spawn(code, **options):
    # Returns the pid that the child itself reports, once all that it does is done.
    read, write = os.pipe()
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code, str(write)], pass_fds=[write],
                     **options)
    os.close(write)
    return [int(pid) for pid in os.fdopen(read).read().split()]

SLEEP = "import os, sys, time; w = int(sys.argv[1]); os.write(w, b'%d ' % os.getpid()); "
HANG = "os.close(w); time.sleep(600)"

guard = Guard.start(Path(sys.argv[1]))
"""

# What a job may leave behind; each line spawns and returns pids once they are settled.
LEFT_BEHIND = {
    "a plain child": "spawn(SLEEP + HANG)",
    "a child in a session of its own": "spawn(SLEEP + HANG, start_new_session=True)",
    "a daemon that forked twice": (
        "spawn('import os, sys, time; w = int(sys.argv[1])\\n"
        "if os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\n"
        'os.write(w, b"%d " % os.getpid())\\n\' + HANG)'
    ),
    "a child that ignores SIGTERM": (
        "spawn('import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); ' + SLEEP + HANG)"
    ),
    "fifty processes": (
        "spawn('import os, sys, time; w = int(sys.argv[1])\\n"
        "for _ in range(49):\\n  if os.fork(): break\\n"
        'os.write(w, b"%d " % os.getpid())\\n\' + HANG)'
    ),
    "a fork of the worker": (
        "[pid for pid in [os.fork()] if pid or os.setsid() or time.sleep(600)]"
    ),
}


class WorkerProcess:
    """A worker that runs a script, and the test's two pipes to it."""

    def __init__(self, directory: Path, script: str, out: Path) -> None:
        self.directory = directory
        read, write = os.pipe()
        program = PRELUDE + textwrap.dedent(script)
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, str(directory), str(write)],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                pass_fds=[write],
                start_new_session=True,
                # Unbuffered, C's output too would come at once.
                env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            )
        os.close(write)
        self._reports = os.fdopen(read)
        self._out = out

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        return str(self.directory / f"{self.pid}.sock")

    def report(self):
        line = self._reports.readline()
        assert line, f"the worker said nothing more: {self.outside()}"
        return json.loads(line)

    def reports(self):
        return [json.loads(line) for line in self._reports]

    def go_on(self) -> None:
        self.process.stdin.write(b"x")
        self.process.stdin.flush()

    def end(self) -> int:
        return self.process.wait(PATIENCE_S)

    def outside(self) -> str:
        """What the worker wrote to its own output."""
        return self._out.read_text()

    def last_words(self, key: str = KEY):
        words = last_words(self.directory, key)
        assert words, self.outside()
        return words

    def guard(self) -> int:
        guards = [pid for pid in guards_in(self.directory) if str(self.pid) in arguments(pid)]
        assert len(guards) == 1
        return guards[0]


def arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def guards_in(directory: Path) -> list[int]:
    """The living guards whose directory this is."""
    return [
        process.pid
        for process in procs.table().values()
        if not process.dead
        and str(directory) in (args := arguments(process.pid))
        and any(arg.endswith("guard/__main__.py") for arg in args)
    ]


def wait_until_gone(pid: int, within_s: float = PATIENCE_S) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], within_s)[0], f"process {pid} lives on"
    finally:
        os.close(handle)


def texts(lines, stream=None) -> list[str]:
    pairs = [
        (it["stream"], it["text"]) if isinstance(it, dict) else (it.stream, it.text) for it in lines
    ]
    return [text for its, text in pairs if stream in (None, its)]


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "guards"


@pytest.fixture
def worker(directory, tmp_path):
    """Start workers; in the end they are killed, and no guard outlives them."""
    started: list[WorkerProcess] = []

    def start(script: str) -> WorkerProcess:
        started.append(WorkerProcess(directory, script, tmp_path / f"out-{len(started)}"))
        return started[-1]

    yield start
    guards = guards_in(directory)
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdin.close()
        one._reports.close()
    for guard in guards:
        wait_until_gone(guard)
    assert not list(directory.glob("*.sock"))


# Crashes


def test_a_segfault_right_after_a_print_keeps_the_line(worker):
    w = worker("watch(); print('the last line'); ctypes.string_at(0)")
    assert w.end() == -signal.SIGSEGV
    words = w.last_words()
    assert texts(words.lines) == ["the last line"]
    assert words.verdict is None


@pytest.mark.parametrize(
    ("death", "code"),
    [("os._exit(0)", 0), ("os.kill(os.getpid(), 9)", -9), ("os.abort()", -signal.SIGABRT)],
)
def test_a_worker_that_ends_without_a_word_keeps_its_lines(worker, death, code):
    w = worker(
        f"watch(); print('out'); print('err', file=sys.stderr); print('b', end=''); "
        f"sys.stdout.flush(); {death}"
    )
    assert w.end() == code
    assert sorted(texts(w.last_words().lines)) == ["b", "err", "out"]


def test_nobody_but_guards_is_asked_for_last_words(directory):
    directory.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as launcher:
        launcher.bind(str(directory / "launcher-1a2b.sock"))
        launcher.listen()
        launcher.setblocking(False)
        assert last_words(directory, "nobody#1") is None
        with pytest.raises(BlockingIOError):
            launcher.accept()


def test_last_words_are_given_once_and_only_for_their_key(worker, directory):
    w = worker("watch(); print('x'); os._exit(1)")
    w.end()
    assert last_words(directory, "another#1") is None
    assert texts(w.last_words().lines) == ["x"]
    assert last_words(directory, KEY) is None
    assert not list(directory.glob("*.words"))


def test_last_words_leave_out_what_was_handed_out(worker):
    w = worker("""
        watch(); print('first')
        while not (lines := guard.tail()): pass
        report([line.text for line in lines])
        print('second'); os._exit(1)
    """)
    assert w.report() == ["first"]
    w.end()
    (line,) = w.last_words().lines
    assert (line.text, line.line_no) == ("second", 2)


def test_a_worker_that_dies_before_it_passed_a_release_on_has_its_last_words_kept(worker):
    w = worker("watch(); print('done'); release(); os._exit(1)")
    assert texts(w.report()["lines"]) == ["done"]
    w.end()
    assert texts(w.last_words().lines) == ["done"]


def test_a_worker_that_dies_without_an_attempt_leaves_nothing(worker, directory):
    w = worker("report(1); wait()")
    w.report()
    guard = w.guard()
    w.process.kill()
    wait_until_gone(guard, within_s=3)
    assert list(directory.iterdir()) == []


def test_a_kill_of_the_workers_process_group_leaves_the_guard_its_last_words(worker):
    w = worker("watch(); print('x'); report(1); wait()")
    w.report()
    os.killpg(w.pid, signal.SIGINT)
    os.killpg(w.pid, signal.SIGKILL)
    w.end()
    assert "x" in texts(w.last_words().lines)


def test_a_crash_while_a_flood_is_under_way_keeps_the_head_and_the_end(worker):
    w = worker("""
        watch(limit=1 << 20)
        print("the beginning", flush=True)
        for _ in range(100): os.write(1, b'x' * 99 + b'\\n' + (b'y' * 99 + b'\\n') * 500)
        os.write(1, b'the end'); ctypes.string_at(0)
    """)
    w.end()
    lines = texts(w.last_words().lines)
    assert lines[0] == "the beginning"
    assert lines[-1] == "the end"


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_what_a_crashed_attempt_left_running_is_killed(worker, left):
    w = worker(f"watch(); report({LEFT_BEHIND[left]}); os._exit(1)")
    pids = w.report()
    assert pids
    w.end()
    words = w.last_words()
    for pid in pids:
        wait_until_gone(pid, within_s=0)
    assert "that the attempt left running" in texts(words.lines, "stderr")[-1]


def test_a_fork_that_shed_all_it_had_is_killed_if_it_was_seen(worker):
    w = worker("""
        watch()
        pid = os.fork()
        if pid == 0:
            os.setsid(); os.closerange(0, 1000); time.sleep(600)
        report(pid)
        time.sleep(1.3)
        os._exit(1)
    """)
    pid = w.report()
    w.end()
    w.last_words()
    wait_until_gone(pid, within_s=0)


# The end of an attempt by the guard


@pytest.mark.parametrize(
    "job",
    [
        "time.sleep(600)",
        "holding.usleep(30_000_000)",
        "subprocess.run(['sleep', '600'])",
        "[0 for _ in iter(int, 1)]",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(600)",
        "print('b' * 10_000_000); os.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_a_timeout_ends_a_worker_whatever_it_does(worker, job):
    w = worker(f"print('before'); watch(timeout_s=0.3); print('line'); report(1); {job}")
    w.report()
    began = time.monotonic()
    assert w.end() == -signal.SIGKILL
    assert time.monotonic() - began < PATIENCE_S / 2
    words = w.last_words()
    assert words.verdict == "timed_out"
    assert texts(words.lines)[0] == "line"


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_a_stop_ends_the_worker_and_all_below_it(worker, left):
    w = worker(f"watch(); report({LEFT_BEHIND[left]}); time.sleep(600)")
    pids = w.report()
    assert stop(w.address, KEY) is True
    assert w.end() == -signal.SIGKILL
    words = w.last_words()
    assert words.verdict == "cancelled"
    for pid in pids:
        wait_until_gone(pid, within_s=0)


def test_a_stop_right_after_the_attempt_began_is_obeyed(worker):
    w = worker("watch(); report(1); time.sleep(600)")
    w.report()
    assert stop(w.address, KEY)
    assert w.end() == -signal.SIGKILL


def test_a_stop_for_another_key_or_without_an_attempt_does_nothing(worker, directory):
    w = worker(
        "report(1); wait(); watch('A'); guard.release(); watch('B'); report(2); wait(); release()"
    )
    w.report()
    assert stop(w.address, "A") is False
    w.go_on()
    w.report()
    assert stop(w.address, "A") is False
    assert stop(str(directory / "1.sock"), "A") is False
    w.go_on()
    assert w.report()["verdict"] is None
    assert w.end() == 0


def test_stops_for_a_past_attempt_never_hit_the_next_ones(worker):
    w = worker("""
        watch('past'); guard.release(); report(1)
        for n in range(2000): watch(f'{n}'); guard.release()
        report(2)
    """)
    w.report()
    while w.process.poll() is None:
        assert stop(w.address, "past") is False
    assert w.report() == 2
    assert w.end() == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_stop_that_was_accepted_ends_that_attempt_and_no_other(worker, seed):
    w = worker("""
        report(0)
        for n in range(1_000_000):
            watch(f'{n}'); guard.release(); report(n)
    """)
    w.report()
    target = random.Random(seed).randrange(20, 400)
    while not stop(w.address, str(target)):
        assert w.process.poll() is None
        if w.report() > target:
            return  # it got away, as a whole
    assert w.end() == -signal.SIGKILL
    assert max(w.reports(), default=-1) < target
    assert w.last_words(str(target)).verdict == "cancelled"


def test_grace_lets_an_attempt_end_by_itself(worker):
    w = worker("""
        watch()
        child = subprocess.Popen(['sleep', '600'])
        report(1); child.wait(); print(child.returncode); release()
    """)
    w.report()
    assert stop(w.address, KEY, grace_s=60)
    words = w.report()
    assert words["verdict"] == "cancelled"
    assert texts(words["lines"]) == ["-15"]
    assert w.end() == 0


def test_grace_that_is_not_used_ends_in_a_kill(worker):
    w = worker(f"watch(); report({LEFT_BEHIND['a child that ignores SIGTERM']}); time.sleep(600)")
    (pid,) = w.report()
    assert stop(w.address, KEY, grace_s=0.2)
    assert w.end() == -signal.SIGKILL
    assert w.last_words().verdict == "cancelled"
    wait_until_gone(pid, within_s=0)


def test_a_second_stop_shortens_the_grace(worker):
    w = worker("watch(); report(1); time.sleep(600)")
    w.report()
    assert stop(w.address, KEY, grace_s=600)
    assert stop(w.address, KEY)
    assert w.end() == -signal.SIGKILL


# The end of an attempt by the worker


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_what_an_attempt_left_running_is_killed_at_its_release(worker, left):
    w = worker(
        f"watch(); report({LEFT_BEHIND[left]}); release(); "
        "report(sum(1 for p in Path('/proc').glob('[0-9]*/stat')"
        " if p.read_text().rpartition(')')[2].split()[1] == str(os.getpid()))); wait()"
    )
    pids = w.report()
    words = w.report()
    for pid in pids:
        wait_until_gone(pid, within_s=0)
    assert "that the attempt left running" in texts(words["lines"], "stderr")[-1]
    assert w.report() == 0, "zombies are left"
    assert words["verdict"] is None


def test_a_child_that_floods_and_ignores_signals_does_not_hold_the_release_up(worker):
    w = worker("""
        watch(limit=100_000)
        subprocess.Popen(['sh', '-c', 'trap "" TERM INT HUP; yes'], start_new_session=True)
        report(1); wait()
        began = time.monotonic(); words = guard.release(); report(time.monotonic() - began)
        report(sum(len(line.text) for line in words.lines))
    """)
    w.report()
    w.go_on()
    assert w.report() < 5
    assert w.report() <= 110_000


def test_a_release_that_an_exception_cut_short_may_be_repeated(worker):
    w = worker("""
        watch(); print('x')
        receive = guard._receive
        def interrupted():
            receive(); guard._receive = receive; raise KeyboardInterrupt
        guard._receive = interrupted
        try: release()
        except KeyboardInterrupt: release()
        watch('next'); print('y'); release()
    """)
    assert texts(w.report()["lines"]) == ["x"]
    assert texts(w.report()["lines"]) == ["y"]


def test_processes_from_before_the_attempt_stay(worker):
    w = worker("""
        (old,) = spawn(SLEEP + HANG)
        watch(); (new,) = spawn(SLEEP + HANG); release()
        os.kill(old, 0); report([old, new]); wait(); os.kill(old, 9)
    """)
    words = w.report()
    old, new = w.report()
    assert f"(pid {new})" in texts(words["lines"])[-1]
    assert f"(pid {old})" not in texts(words["lines"])[-1]
    wait_until_gone(new, within_s=0)
    w.go_on()


def test_after_a_release_the_worker_has_its_own_output_and_environment_back(worker):
    w = worker("""
        print('before'); libc.printf(b'c before\\n')
        watch(); print('within'); release()
        print('after'); report('RAYSCHED_ATTEMPT_MARK' in os.environ)
        report(sys.stdout.line_buffering)
    """)
    assert texts(w.report()["lines"]) == ["within"]
    assert w.report() is False
    assert w.report() is False
    assert w.end() == 0
    assert sorted(w.outside().splitlines()) == ["after", "before", "c before"]


def test_a_jobs_children_inherit_nothing_but_the_three_standard_descriptors(worker):
    w = worker(
        "watch(); subprocess.run('ls /proc/self/fd; echo $RAYSCHED_ATTEMPT_MARK', "
        "shell=True, close_fds=False); release()"
    )
    *fds, mark = texts(w.report()["lines"])
    assert set(fds) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads
    assert mark == mark_of(KEY).decode()


def test_watch_and_release_must_take_turns(tmp_path):
    guard = Guard(tmp_path)
    with pytest.raises(RayschedError, match="no attempt"):
        guard.release()
    assert guard.tail() == []


# Output


def test_output_from_python_c_and_children_is_kept_with_time_stream_and_number(worker):
    before = time.time_ns() // 1000
    w = worker("""
        watch()
        print('python'); print('error', file=sys.stderr)
        libc.printf(b'c\\n'); libc.puts(b'puts'); libc.printf(b'C without end')
        subprocess.run('echo child; echo child error >&2', shell=True)
        os.write(1, b'descriptor\\n')
        release()
    """)
    lines = w.report()["lines"]
    assert texts(lines, "stderr") == ["error", "child error"]
    out = texts(lines, "stdout")
    assert out == ["python", "child", "descriptor", "c", "puts", "C without end"]
    assert sorted(line["line_no"] for line in lines) == list(range(1, 9))
    stamps = [line["ts_us"] for line in lines]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time_ns() // 1000


def test_streams_are_in_the_order_of_arrival(worker):
    w = worker("""
        watch()
        seen = 0
        for n in range(10):
            print(n, file=[sys.stdout, sys.stderr][n % 2])
            while not (lines := guard.tail()): pass
            report(lines[0].text)
        release()
    """)
    assert [w.report() for _ in range(10)] == [str(n) for n in range(10)]
    assert w.report()["lines"] == []


def test_a_flood_by_code_that_holds_the_gil_does_not_deadlock(worker):
    w = worker("""
        watch(limit=32 << 20)
        data = (b'x' * 99 + b'\\n') * 40_000
        at = 0
        while at < len(data): at += holding.write(1, data[at:], len(data) - at)
        release()
    """)
    assert len(w.report()["lines"]) == 40_000


def test_odd_bytes_become_text_that_every_reader_copes_with(worker):
    w = worker(r"""
        watch()
        os.write(1, b'nul\0\xff\xfe\n' + 'Z\u00fcrich\r\n'.encode())
        os.write(1, b'\n10%\r20%\r30%\nno newline')
        release()
    """)
    expected = ["nul\\x00\\xff\\xfe", "Zürich", "", "10%\r20%\r30%", "no newline"]
    assert texts(w.report()["lines"]) == expected


def test_every_line_comes_at_once_even_where_python_would_buffer(worker):
    w = worker("""
        watch(); print('now')
        while not (lines := guard.tail()): pass
        report(lines[0].text); release()
    """)
    assert w.report() == "now"


def test_tail_works_from_another_thread_while_the_job_runs(worker):
    w = worker("""
        watch()
        seen = []
        def ship():
            while sum(map(len, seen)) < 3000: seen.append([line.line_no for line in guard.tail()])
            report([number for numbers in seen for number in numbers])
        thread = threading.Thread(target=ship); thread.start()
        for n in range(3000): print(n)
        thread.join(); release()
    """)
    assert w.report() == list(range(1, 3001))
    assert w.report()["lines"] == []


@pytest.mark.parametrize(
    "sabotage",
    [
        "import io; sys.stdout = io.StringIO()",
        "sys.stdout = None",
        "sys.stdout.close()",
        "sys.stdout = object()",
        "os.close(1)",
    ],
)
def test_output_is_kept_whatever_an_earlier_attempt_did_to_stdout(worker, sabotage):
    w = worker(f"watch(); {sabotage}; release(); watch(); print('still'); release()")
    w.report()
    assert texts(w.report()["lines"]) == ["still"]


# The cap


def test_a_capped_log_keeps_the_head_and_the_end_and_says_what_is_missing(worker):
    w = worker("""
        watch(limit=1 << 20)
        handed = []
        for n in range(100_000):
            print(f'{n:099}')
            if n % 10_000 == 0: handed += guard.tail()
        report([[line.line_no, line.text] for line in handed + guard.release().lines])
    """)
    lines = w.report()
    numbers = [number for number, _ in lines]
    assert numbers == sorted(set(numbers))
    (gap,) = [at for at, (_, text) in enumerate(lines) if text.startswith("[raysched:")]
    for number, text in lines[:gap] + lines[gap + 1 :]:
        assert int(text) == number - 1
    missing = 100_000 - (len(lines) - 1)
    assert lines[gap][1] == (
        f"[raysched: {missing * 100:,} bytes ({missing:,} lines) left out: "
        "the log is capped at 1 MiB]"
    )
    assert lines[gap + 1][0] == lines[gap][0] + missing
    assert lines[-1][0] == 100_000
    assert 700_000 < gap * 100 < 786_432
    assert sum(len(text) + 1 for _, text in lines) <= 1 << 20


def test_a_flood_without_a_newline_costs_the_guard_little_memory(worker):
    w = worker("""
        watch(limit=1 << 20)
        data = b'x' * (1 << 20)
        began = time.monotonic()
        for _ in range(300): os.write(1, data)
        report(300 / (time.monotonic() - began)); wait(); release()
    """)
    rate = w.report()
    status = Path(f"/proc/{w.guard()}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(f"300 MiB at {rate:.0f} MiB/s, guard {peak / 2**20:.1f} MiB at most")
    assert peak < 24 << 20
    w.go_on()
    lines = w.report()["lines"]
    assert sum(len(line["text"]) for line in lines) <= 1 << 20


@pytest.mark.parametrize("limit", [0, 1, 100, 1000, 20_000, 300_000])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_arrives_lines_stay_whole_ordered_and_within_the_cap(limit, seed):
    rng = random.Random(seed)
    log, taken, count = CappedLog(limit), b"", 0
    for _ in range(200):
        stream = rng.randrange(2)
        name = ("out", "err")[stream]
        lines = [f"{name} {'x' * rng.randrange(rng.choice([1, 30, 3000]))}." for _ in range(9)]
        chunk = "".join(f"{line}\n" for line in lines).encode()
        at = rng.randrange(len(chunk))
        for part in (chunk[:at], chunk[at:]):
            log.feed(stream, part, count)
        count += len(lines)
        if rng.random() < 0.1:
            taken += log.take()
    log.close(0)
    lines = read_lines(taken + log.rest())
    assert [line.line_no for line in lines] == sorted({line.line_no for line in lines})
    assert lines[-1].line_no == count
    kept = [line for line in lines if not line.text.startswith("[raysched")]
    for line in kept:
        assert line.text.startswith(line.stream[3:])
        assert line.text.endswith(".")
    gaps = [line for line in lines if line not in kept]
    assert len(gaps) == (len(kept) < count)
    newest = 9 * 3010  # stays even beyond the cap
    assert sum(len(line.text) for line in kept) <= max(limit, newest)


def test_a_line_too_long_is_cut_between_characters():
    log = CappedLog(1 << 20)
    text = "ü" * LINE_MAX  # twice as many bytes
    data = b"x" + text.encode() + b"\nnext"
    for at in range(0, len(data), 1000):
        log.feed(0, data[at : at + 1000], 0)
    log.close(0)
    *pieces, last = [line.text for line in read_lines(log.rest())]
    assert last == "next"
    assert "".join(pieces) == "x" + text
    assert max(len(piece.encode()) for piece in pieces) <= LINE_MAX


# The guard itself


def test_the_guard_is_no_descendant_of_its_worker(worker):
    w = worker("report(1); wait()")
    w.report()
    below = procs.descendants(w.pid, procs.table(), frozenset())
    assert w.guard() not in [process.pid for process in below]
    assert os.getsid(w.guard()) != os.getsid(w.pid)
    assert os.stat(w.address).st_mode & 0o777 == 0o600
    assert w.directory.stat().st_mode & 0o777 == 0o700


def test_a_guard_that_dies_while_a_job_runs_is_replaced_and_no_print_fails(worker):
    w = worker("""
        watch(); print('before'); report(1); wait()
        for n in range(20_000): print(f'after {n}')
        release(); watch('next'); print('fresh'); release()
    """)
    w.report()
    os.kill(w.guard(), signal.SIGKILL)
    w.go_on()
    lines = texts(w.report()["lines"])
    assert [line for line in lines if line.startswith("[raysched: the guard")]
    assert [line for line in lines if line.startswith("after")] == [
        f"after {n}" for n in range(20_000)
    ]
    assert texts(w.report()["lines"]) == ["fresh"]
    assert w.end() == 0


def test_a_guard_that_dies_does_not_take_the_timeout_with_it(worker):
    w = worker("watch(timeout_s=1.5); report(1); time.sleep(600)")
    w.report()
    os.kill(w.guard(), signal.SIGKILL)
    assert w.end() == -signal.SIGKILL
    assert w.last_words().verdict == "timed_out"


def test_a_guard_that_dies_between_attempts_is_replaced(worker):
    w = worker("report(1); wait(); watch(); print('x'); release()")
    w.report()
    os.kill(w.guard(), signal.SIGKILL)
    w.go_on()
    assert "x" in texts(w.report()["lines"])


def test_a_new_guard_spares_what_was_there_before_the_attempt(worker):
    w = worker("""
        (old,) = spawn(SLEEP + HANG)
        watch(); report(1); wait(); (new,) = spawn(SLEEP + HANG)
        release(); os.kill(old, 0); report([old, new]); os.kill(old, 9)
    """)
    w.report()
    os.kill(w.guard(), signal.SIGKILL)
    w.go_on()
    w.report()
    _, new = w.report()
    wait_until_gone(new, within_s=0)


def test_the_memory_of_children_is_sampled(worker):
    w = worker("""
        watch()
        spawn('b = bytearray(100 << 20)\\n'
              'for n in range(0, len(b), 4096): b[n] = 1\\n' + SLEEP + HANG)
        time.sleep(2)  # at least two samples
        release()
    """)
    assert 100 << 20 < w.report()["peak_children_bytes"] < 200 << 20


def test_a_worker_that_can_start_no_guard_any_more_still_ends_its_attempt(worker):
    w = worker("""
        watch(); print('x'); report(1); wait()
        sys.executable = '/nonexistent'
        report(2); wait(); print('y'); release()
    """)
    w.report()
    guard = w.guard()
    w.go_on()
    w.report()
    os.kill(guard, signal.SIGKILL)
    w.go_on()
    (line,) = texts(w.report()["lines"])
    assert "no other could be started" in line
    assert w.end() == 0
    sweep(w.directory)  # a guard that was killed could not clean up


def test_a_directory_with_a_long_name_and_a_key_of_any_kind_will_do(tmp_path):
    directory = tmp_path / ("d" * 150)
    key = "../\0\udcff/" + "k" * 300
    w = WorkerProcess(directory, f"watch({key!r}); report(1); time.sleep(600)", tmp_path / "out")
    w.report()
    assert stop(w.address, key)
    assert w.end() == -signal.SIGKILL
    assert w.last_words(key).verdict == "cancelled"


def test_garbage_on_the_socket_is_refused_and_harms_nobody(worker):
    w = worker("watch(); report(1); wait(); print('fine'); release()")
    w.report()
    for garbage in (b"\xff" * 5000, b"\0" * 9, b"\1\0\0\0\7\0\0\0\0x", b""):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(w.address)
            with contextlib.suppress(BrokenPipeError):
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""
    w.go_on()
    assert texts(w.report()["lines"]) == ["fine"]


def test_sockets_of_dead_guards_are_cleaned_away_and_living_ones_are_not(worker, directory):
    directory.mkdir(mode=0o700)
    stale = directory / f"{2**22 + 1}.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    first = worker("report(1); wait(); watch(); print('alive'); release()")
    first.report()
    second = worker("report(1); wait()")
    second.report()
    assert not stale.exists()
    first.go_on()
    assert texts(first.report()["lines"]) == ["alive"]
    assert stop(second.address, KEY) is False


def test_another_users_directory_is_refused(tmp_path):
    target = tmp_path / "real"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(RayschedError, match="cannot hold"):
        Guard.start(tmp_path / "link")


def test_a_silent_attempt_costs_next_to_nothing(worker):
    w = worker("""
        times = []
        for n in range(2000):
            began = time.perf_counter(); watch(f'{n}'); guard.release()
            times.append(time.perf_counter() - began)
        report(sorted(times)[1000]); wait()
    """)
    median = w.report()
    status = Path(f"/proc/{w.guard()}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    print(f"watch + release: {median * 1e6:.0f} us at the median; guard {resident:.1f} MiB")
    assert median < 0.002
    assert resident < 12
