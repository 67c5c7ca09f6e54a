"""The pure parts of a container's attempt: events, frames, lines, options."""

import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from container_task import make_task
from raysched.errors import OptionRefused, UnsupportedResult
from raysched.runners.container import options, pruning, results
from raysched.runners.container.events import Seen, Witness, trusted
from raysched.runners.container.faults import Away
from raysched.runners.container.frames import Frames, Message, moment
from raysched.runners.container.listener import Listener
from raysched.runners.container.output import Output
from raysched.runners.container.pruning import Use, superseded

SECOND = 1_000_000_000


def event(action, **attributes):
    return {"Action": action, "timeNano": 7, "Actor": {"Attributes": attributes}}


def fold(*events):
    seen = Seen()
    for one in events:
        seen = seen.after(one)
    return seen


def test_a_kill_before_the_death_is_seen_and_a_harmless_signal_is_not():
    assert fold(event("start"), event("kill", signal="15"), event("die")).kill == "15"
    assert fold(event("start"), event("kill", signal="10"), event("die")).kill is None
    assert fold(event("die"), event("kill", signal="9")).kill is None
    assert fold(event("stop")).kill == "15"
    assert fold(event("oom"), event("die")) == fold(event("oom"), event("die"), event("oom"))


@pytest.mark.parametrize(
    ("complete", "launched", "now", "expected"),
    [
        (True, Witness(engine=None, boot="a", live_restore=False), None, True),
        (False, Witness(engine="1", boot="a", live_restore=False), None, True),
        (False, Witness(engine=None, boot="a", live_restore=False), None, False),
        (False, Witness(engine="0", boot="a", live_restore=False), None, False),
        (False, Witness(engine="0", boot="a", live_restore=True), None, True),
        (False, Witness(engine="0", boot="b", live_restore=True), None, False),
    ],
)
def test_an_exit_code_is_trusted_only_if_nobody_can_have_ended_the_container_unseen(
    complete, launched, now, expected
):
    now = Witness(engine="1", boot="a", live_restore=True)
    assert trusted(complete=complete, launched=launched, now=now) is expected


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
def test_frames_are_found_however_they_are_cut(size):
    def frame(kind, text):
        return struct.pack(">BxxxI", kind, len(text)) + text

    data = frame(1, b"2026-11-22T06:00:00.000000005Z a b\n") + frame(
        2, b"2026-11-22T06:00:01.100000000Z \n"
    )
    frames = Frames()
    got = [m for at in range(0, len(data), size) for m in frames.feed(data[at : at + size])]
    base = 1_795_327_200 * SECOND
    assert got == [Message(base + 5, 0, b"a b\n"), Message(base + 1_100_000_000, 1, b"\n")]


def test_moments_of_any_precision_are_read():
    base = 1_795_327_200 * SECOND
    assert moment("2026-11-22T06:00:00Z") == base
    assert moment("2026-11-22T06:00:00.5Z") == base + SECOND // 2
    assert moment("0001-01-01T00:00:00Z") is None


def read(output):
    output.finish()
    output.hand_over()
    return [(line.stream, line.line_no, line.text) for line in output.tail()]


def messages(*texts, at=SECOND * 100):
    return [Message(at + n, 0, text) for n, text in enumerate(texts)]


def test_repeated_messages_are_known_and_equal_stamps_are_counted(tmp_path):
    output = Output(tmp_path / "log", 100_000)
    same = [Message(SECOND * 100, 0, b"x\n"), Message(SECOND * 100, 0, b"x\n")]
    output.feed(same)
    output.resume()
    output.feed([*same, Message(SECOND * 100, 0, b"x\n"), Message(SECOND * 100 + 1, 0, b"y\n")])
    assert [text for _, _, text in read(output)] == ["x", "x", "x", "y"]


def test_the_log_of_a_container_that_has_died_is_asked_for_once(tmp_path):
    asked = []

    class Gone:
        def logs(self, container, since_ns, *, follow, quiet_s):
            asked.append(follow)
            raise Away("it has gone")

    listener = Listener(Gone(), "etl", Output(tmp_path / "log", 100_000))
    listener.start()
    listener.rest()
    listener.finish()
    assert asked == [False]


def test_what_comes_after_the_end_is_not_written_to_whatever_file_is_open_by_then(tmp_path):
    output = Output(tmp_path / "log", 100_000)
    output.finish()
    output.hand_over()
    with ExitStack() as others:  # one has the journal's number
        for n in range(50):
            others.enter_context(open(tmp_path / str(n), "wb"))
        output.feed(messages(b"late\n"))
    assert {(tmp_path / str(n)).stat().st_size for n in range(50)} == {0}


class Slow:
    """An engine whose log of a dead container comes a line at a time."""

    def __init__(self):
        self.more = threading.Event()

    def logs(self, container, since_ns, *, follow, quiet_s):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def chunks(self):
        yield self.frame(b"first")
        assert self.more.wait(10)
        yield self.frame(b"last")

    def frame(self, text):
        message = b"2026-11-22T06:00:00.000000000Z " + text + b"\n"
        return struct.pack(">BxxxI", 1, len(message)) + message

    def abort(self):
        raise AssertionError("the last reading is not cut short")


def test_the_last_reading_of_a_log_takes_its_time(tmp_path):
    engine, output = Slow(), Output(tmp_path / "log", 100_000)
    reader = Listener(engine, "etl", output, patience_s=0.01)
    reader.start()
    threading.Timer(0.2, engine.more.set).start()
    reader.finish()
    output.finish()
    output.hand_over()
    assert [text for _, _, text in read(output)] == ["first", "last"]


def test_a_new_watcher_goes_on_after_the_last_whole_line(tmp_path):
    first = Output(tmp_path / "log", 100_000, [b"hunter2"])
    first.say("building")
    given = messages(b"a hunter2\n", b"half ", b"line\n", b"never finis")
    first.feed(given)
    with open(tmp_path / "log", "ab") as log:
        log.write(b"\x01\x02")  # killed within a record
    second = Output(tmp_path / "log", 100_000)
    assert 0 < second.resume() <= given[0].ts_ns
    second.feed([*given, Message(SECOND * 101, 0, b"hed\n")])
    assert read(second) == [
        ("build", 1, "[raysched: building]"),
        ("stdout", 2, "a ***"),
        ("stdout", 3, "half line"),
        ("stdout", 4, "never finished"),
    ]
    assert second.tail() == []


def test_an_unknown_network_or_capability_is_refused_and_gpus_are_those_granted():
    from container_task import make_task
    from raysched.runners.container.options import environment, host_options

    def host(**given):
        return host_options(make_task(**given), cpus=2, out=Path("/o"), secrets=None, mounts=())

    assert host(gpu_ids=("GPU-1", "3"))["device_requests"][0]["DeviceIDs"] == ["GPU-1", "3"]
    assert "device_requests" not in host()
    assert environment(make_task())["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert host(num_cpus=0.001)["nano_cpus"] == 10_000_000
    assert "nano_cpus" not in host(num_cpus=0)
    for bad in ({"network": "host"}, {"cap_add": ("SYS_ADMIN",)}, {"cap_add": ("ALL",)}):
        with pytest.raises(OptionRefused):
            host(**bad)


def test_a_resumed_flood_takes_no_longer_a_line_for_what_is_not_given_again(tmp_path):
    output = Output(tmp_path / "log", 100_000)
    output.feed(Message(n, 0, b"x\n") for n in range(1, 20_001))
    output.resume()
    began = time.process_time()
    output.feed(Message(n, 0, b"x\n") for n in range(20_001, 120_001))
    assert time.process_time() - began < 10  # some minutes, if each looks at the whole window
    output.finish()
    output.hand_over()
    assert output.tail()[-1].line_no == 120_000


def test_a_container_sees_no_gpus_but_those_that_ray_granted():
    for granted, seen in (((), "void"), (("0", "3"), "0,3")):
        task = make_task(gpu_ids=granted, env={"NVIDIA_VISIBLE_DEVICES": "all"})
        assert options.environment(task)["NVIDIA_VISIBLE_DEVICES"] == seen


def test_an_image_is_superseded_once_it_is_no_job_s_last_and_unused_for_a_day():
    day = pruning.UNUSED_S
    uses = [Use("a", "1", 0), Use("a", "2", 10), Use("b", "1", 5), Use("b", "3", 20)]
    assert superseded(uses, day) == set()
    assert superseded(uses, day + 5) == {"1"}
    assert superseded(uses, 9 * day) == {"1"}
    assert superseded([*uses, Use("c", "1", 0)], 9 * day) == set()
    assert superseded([], day) == set()


def test_a_huge_row_group_is_read_little_by_little(tmp_path):
    rows = 200_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 2_000])
    pq.write_table(pa.table({"x": text}), tmp_path / "a", row_group_size=rows, store_schema=False)
    before = pa.total_allocated_bytes()
    reader = results.table([tmp_path / "a"])
    most = seen = 0
    for batch in reader:
        seen += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert seen == rows
    assert most < rows * 2_000 // 4


def test_result_files_of_different_columns_are_refused_as_one_would_lose_its_own(tmp_path):
    def table(name, **columns):
        pq.write_table(pa.table(columns), tmp_path / name)
        return tmp_path / name

    one, same, other = table("1", x=[1]), table("2", x=[2]), table("3", y=["a"])
    assert results.table([one, same]).read_all()["x"].to_pylist() == [1, 2]
    with pytest.raises(UnsupportedResult, match="'3' has other columns than '1'") as caught:
        results.table([one, same, other])
    assert "y: string are not x: int64" in caught.value.why
    broken = tmp_path / "4"
    broken.write_bytes(one.read_bytes()[:-5])
    with pytest.raises(UnsupportedResult, match="'4' is no Parquet file"):
        results.table([one, broken])
