"""A container's output: each line once, in order, whatever breaks on the way."""

import contextlib
import socket
import threading
from collections import Counter

import pytest

from support import until


def texts(lines, *streams):
    return [line.text for line in lines if line.stream in (streams or ("stdout", "stderr"))]


def numbers(lines):
    return [line.line_no for line in lines]


def test_two_streams_keep_their_own_lines_and_stamps(ran):
    ending, lines = ran(
        "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done"
    )
    assert [(line.stream, line.text) for line in lines] == [
        (stream, f"{short} {i}")
        for i in (1, 2, 3)
        for stream, short in (("stdout", "out"), ("stderr", "err"))
    ]
    stamps = [line.ts_us for line in lines]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] > 200_000
    assert ending.started_at.timestamp() * 1e6 - 1e6 < stamps[0]
    assert stamps[-1] <= ending.finished_at.timestamp() * 1e6 + 1e5
    assert numbers(lines) == [1, 2, 3, 4, 5, 6]


def test_long_binary_and_unterminated_lines_arrive_whole(ran):
    # The engine keeps text: a byte that is none becomes U+FFFD.
    _, lines = ran(
        "head -c 50000 /dev/zero | tr '\\0' a; echo; printf 'nul\\000nul\\n'; "
        "printf '\\377\\376\\n'; printf 'last'"
    )
    assert texts(lines) == [
        "a" * 50_000,
        "nul\\x00nul",
        "\ufffd\ufffd",
        "last",
    ]  # the engine keeps text


def test_a_line_of_100_kilobytes_loses_nothing(ran):
    _, lines = ran("head -c 100000 /dev/zero | tr '\\0' a; echo; echo end")
    assert "".join(texts(lines)) == "a" * 100_000 + "end"
    assert max(len(line.text) for line in lines) <= 64 * 1024


def test_a_secret_is_masked_wherever_a_line_is_cut(ran, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("hunter2-hunter2")
    monkeypatch.setenv("RAYSCHED_SECRETS_DIR", str(tmp_path))
    _, lines = ran(
        "for n in 16377 65530; do head -c $n /dev/zero | tr '\\0' a; "
        "cat /run/secrets/token; echo b; done",
        secrets=("token",),
    )
    text = "".join(texts(lines))
    assert "hunter2" not in text
    assert text == "a" * 16377 + "***b" + "a" * 65530 + "***b"


def test_a_flood_is_capped_with_one_line_that_says_so(ran):
    _, lines = ran("seq 1 200000", log_limit_bytes=100_000)
    marks = [line for line in lines if line.text.startswith("[raysched: ")]
    assert len(marks) == 1
    assert "the log is capped at 100,000 bytes" in marks[0].text
    assert (lines[0].text, lines[-1].text) == ("1", "200000")
    assert all(int(a.text) == a.line_no for a in lines if a is not marks[0])
    assert sum(len(line.text) for line in lines) < 100_000


def test_lines_come_while_the_container_runs(attempt, background, engine):
    one = attempt("echo first; sleep 100")
    run = background(one.run)
    seen = []
    until(lambda: seen.extend(one.tail()) or seen)
    assert texts(seen) == ["first"]
    engine.kill(one._task.name)
    assert run.result().lost


class Proxy(threading.Thread):
    """A way to the engine that can be cut; counts the log streams that it has carried."""

    def __init__(self, folder, target: str) -> None:
        super().__init__(daemon=True)
        self.path, self._target, self._pairs = folder / "proxy.sock", target, []
        self.logs = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen(50)
        self.start()

    def run(self) -> None:
        while True:
            near, _ = self._socket.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, a, b) -> None:
        try:
            while data := a.recv(4096):
                self.logs += b"/logs?" in data
                b.sendall(data)
        except OSError:
            pass
        for one in (a, b):
            one.close()

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("pause", ["", "usleep 2000;"])
def test_a_stream_that_breaks_is_resumed_without_a_lost_or_doubled_line(
    attempt, background, engine, tmp_path, monkeypatch, pause
):
    target = engine.adapters["http+docker://"].socket_path
    proxy = Proxy(tmp_path, target)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
    count = 600 if pause else 20_000
    one = attempt(
        f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo out $i; echo err $i >&2; {pause} done"
    )
    run = background(one.run)
    lines = []
    for wanted in (10, 50, 200, 400):
        until(lambda wanted=wanted: lines.extend(one.tail()) or len(lines) > wanted)
        proxy.cut()
    ending = run.result()
    lines += one.tail()
    assert (ending.exit_code, ending.fault) == (0, "")
    assert proxy.logs >= 2
    assert Counter(texts(lines)).most_common(1)[0][1] == 1
    for stream, short in (("stdout", "out"), ("stderr", "err")):
        assert texts(lines, stream) == [f"{short} {i}" for i in range(1, count + 1)]
    assert numbers(lines) == list(range(1, 2 * count + 1))
