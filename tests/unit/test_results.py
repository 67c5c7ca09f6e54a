"""A job may return anything; what cannot be kept is refused by name, without harm."""

from __future__ import annotations

import builtins
import json
import os
import socket
import threading
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs as pafs
from pyarrow import parquet as pq

from raysched.errors import StoreError, UnsupportedResult
from raysched.spec.notebook import LARGEST, ExecutedNotebook
from raysched.store import parquet
from raysched.store.history import History
from raysched.store.home import STAGING, RemoteHome
from raysched.store.results import (
    discard,
    file_name,
    partial_path,
    publish,
    published_path,
    read_notebook,
    read_result,
    result_path,
    write_result,
)
from raysched.store.returned import classify, type_name

RUN = "daily_delays@2026-11-22T06:00:00Z"
MANUAL = "daily_delays@2026-11-22T06:00:03.123456Z-x7f3ab"


@pytest.fixture
def home(tmp_path):
    return History(tmp_path / "home").home


@pytest.fixture
def root(tmp_path, home):
    return tmp_path / "home"


def keep(home, value, run_id=RUN):
    written = write_result(home, "daily_delays", run_id, 1, value)
    publish(home, written.hidden_path, written.final_path)
    return written


def staged(root):
    return [name for _, _, files in os.walk(root / STAGING) for name in files]


# -- JSON -------------------------------------------------------------------------------


def test_nothing_is_nothing():
    assert classify(None).kind == "none"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@settings(deadline=None)
@given(PLAIN.filter(lambda value: value is not None))
def test_plain_values_are_json_that_says_the_same(value):
    result = classify(value)
    assert result.kind == "json"
    assert json.loads(result.json) == value
    result.json.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (10**40, "1" + "0" * 40),
        ((1, (2,)), "[1,[2]]"),
        ("Zürich", '"Zürich"'),
        ("\udcff", '"\\udcff"'),
        (np.int32(7), "7"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        ({"a": [np.float64(1.5), np.str_("x")]}, '{"a":[1.5,"x"]}'),
    ],
)
def test_json_is_compact_and_readable(value, text):
    assert classify(value).json == text


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic():
    value = [1]
    value.append({"me": value})
    return value


def wide():
    value = "x"
    for _ in range(49):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1.0, float("nan")]}, r"result\['a'\]\[1\].*nan"),
        (np.float64("inf"), "inf"),
        (nested(51), "more than 50 levels"),
        (cyclic(), "itself again"),
        (wide(), "64 KiB"),
        ("x" * 70_000, "64 KiB"),
        ("ü" * 33_000, "64 KiB"),
        (list(range(30_000)), "64 KiB"),
        ({"a" * 70_000: 1}, "64 KiB"),
        ([10**5000], "digits"),
        ({1: 2}, "key of type int"),
        ({"a": {"b": {3}}}, r"result\['a'\]\['b'\].*set"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "datetime.datetime"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_place(value, says):
    with pytest.raises(UnsupportedResult, match=says) as caught:
        classify(value)
    assert caught.value.fix


def test_the_limits_themselves_are_allowed():
    assert classify(nested(50)).kind == "json"
    assert len(classify("x" * (65_536 - 2)).json) == 65_536
    shared = [1]
    assert classify([shared, shared]).json == "[[1],[1]]"


# -- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "name", "fix"),
    [
        (threading.Lock, "_thread.lock", "DataFrame"),
        (lambda: (n for n in ()), "generator", "from_batches"),
        (lambda: np.zeros(3), "numpy.ndarray", "pandas.DataFrame"),
        (lambda: {1}, "set", "sorted"),
        (lambda: b"x", "bytes", "decode"),
        (lambda: 1j, "complex", "real"),
        (object, "object", "DataFrame"),
        (lambda: len, "builtin_function_or_method", "DataFrame"),
        (lambda: np.longdouble(1), "longdouble", "number"),
        (lambda: np.datetime64(0, "s"), "numpy.datetime64", "text"),
        (lambda: pd.NaT, "NaTType", "None"),
        (lambda: pa.array([1]), "Array", "Arrow table"),
        (lambda: int, "type", "number"),
    ],
)
def test_what_has_no_form_is_refused_by_its_type_with_what_to_return(make, name, fix):
    with pytest.raises(UnsupportedResult) as caught:
        classify(make())
    assert name in caught.value.what
    assert fix in caught.value.fix


def test_a_socket_is_refused():
    with socket.socket() as value, pytest.raises(UnsupportedResult, match=r"socket\.socket"):
        classify(value)


class Bomb(BaseException):
    """What no `except Exception` catches; its own text explodes as well."""

    def __str__(self):
        raise Bomb

    __repr__ = __str__


def explode(*args, **named):
    raise Bomb


class Hostile:
    __class__ = property(explode)
    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = explode
    __getattribute__ = explode


class Mute:
    __repr__ = __str__ = explode


class HostileDict(dict):
    __class__ = property(explode)
    items = keys = __iter__ = __len__ = __repr__ = __getitem__ = explode


class HostileText(str):
    __slots__ = ()
    __class__ = property(explode)
    __repr__ = __str__ = __len__ = encode = __eq__ = explode
    __hash__ = str.__hash__


class HostileMeta(type):
    __name__ = __mro__ = __dict__ = property(explode)
    __instancecheck__ = __subclasscheck__ = __repr__ = __str__ = mro_entries = explode
    __getattribute__ = explode


class HostileStream:
    __arrow_c_stream__ = explode


class ExitingStream:
    def __arrow_c_stream__(self, requested_schema=None):
        raise SystemExit("out")


class LyingStream:
    def __arrow_c_stream__(self, requested_schema=None):
        return "no capsule"


def hostile_class():
    return HostileMeta("HostileByMeta", (), {})  # not at module level, where pytest would look


@pytest.mark.parametrize(
    "make",
    [
        Hostile,
        HostileDict,
        lambda: HostileText("x"),
        lambda: type.__call__(hostile_class()),
        hostile_class,
        HostileStream,
        ExitingStream,
        LyingStream,
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [{"a": value}]])
def test_a_hostile_value_is_refused_and_its_code_does_no_harm(make, wrap):
    with pytest.raises(UnsupportedResult) as caught:
        classify(wrap(make()))
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def test_a_hostile_name_is_printed_harmlessly():
    name = type_name(type("\x1b[2J<script>\n" * 50, (), {})())
    assert name.isprintable()
    assert len(name) <= 100
    odd = type(HostileText("odd"), (), {"__module__": 3, "__qualname__": HostileText("odd")})
    assert type_name(odd()) == "odd"


def test_what_a_value_pretends_to_be_does_not_count():
    class Pretender:
        __class__ = pd.DataFrame

    with pytest.raises(UnsupportedResult, match="Pretender"):
        classify(Pretender())


# -- tables ------------------------------------------------------------------------------

FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")),
    "unnamed index": pd.DataFrame({"a": [1, 2]}, index=[5, 3]),
    "two indexes": pd.DataFrame({"a": [1, 2, 3]}, index=pd.MultiIndex.from_tuples(
        [(1, "x"), (1, "y"), (2, "x")], names=["n", "t"])),
    "instants": pd.DataFrame({"at": pd.date_range(
        "2026-11-01", periods=3, freq="h", tz="America/New_York")}),
    "nanoseconds": pd.DataFrame({"at": pd.to_datetime([1, 2], unit="ns")}),
    "categories": pd.DataFrame({"c": pd.Categorical(["x", "y", "x"])}),
    "nullable": pd.DataFrame({"i": pd.array([1, None], dtype="Int64")}),
    "durations": pd.DataFrame({"d": pd.to_timedelta([1, 2], unit="s")}),
    "numbers for names": pd.DataFrame([[1, 2]]),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="float64")}),
    "lists": pd.DataFrame({"l": [[1, 2], [3]]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_equal(home, name):
    frame = FRAMES[name]
    written = keep(home, frame)
    assert written.rows == len(frame)
    back = read_result(home, written.final_path).to_pandas()
    pd.testing.assert_frame_equal(back, frame, check_freq=False)


def test_a_default_index_is_no_column_of_the_file(home, root):
    written = keep(home, FRAMES["plain"])
    assert pq.read_schema(root / written.final_path).names == ["a", "b"]


def test_a_series_is_a_frame_of_one_column(home):
    written = keep(home, pd.Series([1, 2], name="n"))
    assert read_result(home, written.final_path).column_names == ["n"]
    assert classify(pd.Series([1])).batches.schema.names == ["value"]


TABLE = pa.table({"n": [1, 2, 3]})


class Foreign:
    """A table of another library, as polars and DuckDB hand theirs over."""

    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [lambda: TABLE, lambda: TABLE.to_batches()[0], TABLE.to_reader, Foreign],
)
def test_whatever_speaks_arrow_becomes_the_same_file(home, make):
    written = keep(home, make())
    assert read_result(home, written.final_path) == TABLE
    assert written.rows == 3


def test_the_view_types_of_other_libraries_come_back_in_pandas(home):
    table = pa.table(
        {
            "s": pa.array(["x", None], pa.string_view()),
            "l": pa.array([["x"], []], pa.large_list(pa.string_view())),
            "d": pa.array([{"s": "x"}, None], pa.struct({"s": pa.string_view()})),
            "c": pa.DictionaryArray.from_arrays(
                pa.array([0, 0], pa.uint32()), pa.array(["x"], pa.string_view())
            ),
        }
    )
    frame = read_result(home, keep(home, table).final_path).to_pandas()
    assert [list(cell) for cell in frame.l] == [["x"], []]
    assert frame.c.tolist() == ["x", "x"]
    assert frame.d.tolist() == [{"s": "x"}, None]


def test_a_reader_is_never_held_whole(home, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 100)
    alive = most = 0

    def batches():
        nonlocal most
        for _ in range(50):
            most = max(most, pa.total_allocated_bytes() - alive)
            yield pa.record_batch({"n": np.zeros(100)})

    alive = pa.total_allocated_bytes()
    schema = pa.schema({"n": pa.float64()})
    written = keep(home, pa.RecordBatchReader.from_batches(schema, batches()))
    assert written.rows == 5000
    assert read_result(home, written.final_path).num_rows == 5000
    assert most < 5000 * 8 * 4


def test_results_of_one_job_are_one_table_for_plain_pandas(home, root):
    keep(home, pd.DataFrame({"n": [1]}), RUN)
    keep(home, pd.DataFrame({"n": [2]}), MANUAL)
    write_result(home, "daily_delays", RUN + "9", 1, pd.DataFrame({"n": [3]}))
    assert sorted(pd.read_parquet(root / "results/daily_delays").n) == [1, 2]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"ok": [1, 2], "mix": [1, "x"]}), r"'mix' of type object holds int, str"),
        (pd.DataFrame({"l": [threading.Lock()]}), r"'l' of type object holds _thread.lock"),
        (pd.DataFrame({"c": [1j]}), "'c' of type complex128"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns named 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns named 'a'"),
        (pa.table({"e": pa.array([{}], pa.struct([]))}), "'e' of type"),
        (pd.DataFrame({"h": [Mute()]}), "Mute"),
    ],
)
def test_a_column_that_arrow_or_parquet_cannot_hold_is_named_with_its_type(frame, says):
    with pytest.raises(UnsupportedResult, match=says):
        classify(frame)


# Not Bomb: pyarrow asks an exception for its text in C++, and dies of one that has none.
@pytest.mark.parametrize("error", [ValueError("bad page"), SystemExit("out"), KeyboardInterrupt()])
def test_a_reader_that_fails_on_the_way_leaves_nothing(home, root, error):
    def batches():
        yield pa.record_batch({"n": [1]})
        raise error

    schema = pa.schema({"n": pa.int64()})
    with pytest.raises(UnsupportedResult, match="while its batches were read"):
        write_result(home, "j", "r", 1, pa.RecordBatchReader.from_batches(schema, batches()))
    assert staged(root) == []


def test_a_table_without_columns_is_kept_as_one(home):
    written = keep(home, pd.DataFrame())
    assert read_result(home, written.final_path).num_columns == 0


def test_a_value_that_needs_no_file_gets_none(home):
    with pytest.raises(StoreError, match="kind json"):
        write_result(home, "j", "r", 1, 42)


# -- names and places ----------------------------------------------------------------------


def test_a_run_id_stays_legible():
    assert result_path("daily_delays", RUN) == (
        "results/daily_delays/daily_delays@2026-11-22T06~00~00Z.parquet"
    )


TEXT = st.text(st.sampled_from("aZ0.:~%_-@+/\\ \x00é\ud800") | st.characters(), min_size=1)


@settings(deadline=None, max_examples=500)
@given(TEXT, TEXT)
def test_two_ids_never_share_a_file(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)


@settings(deadline=None)
@given(TEXT | st.text("é:", min_size=100, max_size=400))
def test_a_file_name_is_safe_everywhere(text):
    name = file_name(text)
    assert len(name) <= 160
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\: \"'*?<>|#&=")
    assert name[0] not in "._"


def test_long_ids_that_differ_at_the_end_stay_apart():
    assert file_name("a" * 500 + "b") != file_name("a" * 500 + "c")
    with pytest.raises(StoreError, match="empty"):
        file_name("")


def test_a_result_is_seen_only_when_published_and_publishing_may_be_repeated(home, root):
    written = write_result(home, "daily_delays", RUN, 1, TABLE)
    assert not (root / "results").exists()
    for _ in range(2):
        publish(home, written.hidden_path, written.final_path)
    assert read_result(home, written.final_path) == TABLE
    assert staged(root) == []


def test_a_stale_attempts_result_is_dropped(home, root):
    stale = write_result(home, "j", "r", 1, TABLE)
    fresh = write_result(home, "j", "r", 2, TABLE.slice(1))
    for _ in range(2):
        discard(home, stale.hidden_path)
    publish(home, fresh.hidden_path, fresh.final_path)
    assert read_result(home, fresh.final_path).num_rows == 2
    assert staged(root) == []


def test_a_result_that_is_nowhere_or_cut_short_is_not_published(home, root):
    written = write_result(home, "j", "r", 1, TABLE)
    path = root / written.hidden_path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match="cannot be read"):
        publish(home, written.hidden_path, written.final_path)
    discard(home, written.hidden_path)
    with pytest.raises(StoreError, match="is gone"):
        publish(home, written.hidden_path, written.final_path)
    assert not (root / "results").exists()


def test_a_notebook_is_kept_as_it_is_and_is_no_table(home, root):
    written = write_result(home, "daily_delays", RUN, 1, ExecutedNotebook(b'{"cells": []}'))
    assert written.rows is None
    final = published_path("daily_delays", RUN, written.hidden_path)
    assert final == written.final_path == result_path("daily_delays", RUN, "ipynb")
    with pytest.raises(StoreError):
        read_notebook(home, final)
    publish(home, written.hidden_path, final)
    assert read_notebook(home, final) == b'{"cells": []}'
    with pytest.raises(StoreError, match="no path of one"):
        read_result(home, final)
    with pytest.raises(StoreError, match="no path of one"):
        read_notebook(home, result_path("daily_delays", RUN))
    assert staged(root) == []


def test_what_failed_attempts_leave_lies_side_by_side_and_away_from_their_runs_result(home, root):
    left = {n: ExecutedNotebook(b'{"cells": [%d]}' % n) for n in (1, 2, 3)}
    for n, notebook in left.items():
        hidden = write_result(home, "daily_delays", RUN, n, notebook).hidden_path
        final = (
            partial_path("daily_delays", RUN, n)
            if n < 3
            else published_path("daily_delays", RUN, hidden)
        )
        for _ in range(2):  # the scheduler dies before it is on record, and hears of it again
            publish(home, hidden, final)
        assert read_notebook(home, final) == notebook.content
    assert partial_path("daily_delays", RUN, 2) == (
        "partial/daily_delays/daily_delays@2026-11-22T06~00~00Z#2.ipynb"
    )
    assert sorted(path.name for path in root.rglob("*.ipynb")) == [
        "daily_delays@2026-11-22T06~00~00Z#1.ipynb",
        "daily_delays@2026-11-22T06~00~00Z#2.ipynb",
        "daily_delays@2026-11-22T06~00~00Z.ipynb",
    ]
    assert staged(root) == []


def test_where_a_result_goes_is_told_by_its_run_and_not_by_its_worker(home):
    assert published_path("j", "r", HIDDEN.replace("/j/", "/other/")) == FINAL
    with pytest.raises(StoreError, match="no staged result"):
        published_path("j", "r", "results/j/r.parquet")


def test_an_executed_notebook_that_is_too_large_is_refused():
    with pytest.raises(UnsupportedResult, match=r"67,108,865 bytes"):
        classify(ExecutedNotebook(bytes(LARGEST + 1)))


TOKEN = "0" * 32
HIDDEN, FINAL = f"{STAGING}/results/j/r#1.{TOKEN}.parquet.tmp", "results/j/r.parquet"


@pytest.mark.parametrize(
    ("hidden", "final"),
    [
        (HIDDEN, "results/j/s.parquet"),
        (HIDDEN, "results/k/r.parquet"),
        (HIDDEN, "/results/j/r.parquet"),
        (HIDDEN, "results/j/../../r.parquet"),
        (HIDDEN, "runs/j/r.parquet"),
        (HIDDEN, FINAL + "\n"),
        (f"{STAGING}/results/../r#1.{TOKEN}.parquet.tmp", "results/../r.parquet"),
        (HIDDEN, "results/j/r.ipynb"),
        (HIDDEN.replace("parquet", "ipynb"), FINAL),
        (HIDDEN.replace("parquet", "html"), "results/j/r.html"),
        (HIDDEN, "partial/j/r#1.ipynb"),
        (HIDDEN.replace("parquet", "ipynb"), "partial/j/r#2.ipynb"),
        (HIDDEN.replace("parquet", "ipynb"), "partial/k/r#1.ipynb"),
        (HIDDEN.replace("parquet", "ipynb"), "partial/j/r.ipynb"),
        ("../../etc/passwd", FINAL),
        ("state.db", FINAL),
        (HIDDEN.replace("j", "j/k"), "results/j/k/r.parquet"),
        (HIDDEN.replace("/j/", "/./"), "results/./r.parquet"),
        ("", ""),
    ],
)
def test_a_path_that_a_worker_made_up_is_refused(home, hidden, final):
    with pytest.raises(StoreError, match="cannot be published"):
        publish(home, hidden, final)


@pytest.mark.parametrize("path", ["state.db", "../x.parquet", "results/x.parquet", "/etc/passwd"])
def test_only_results_are_read_or_dropped_as_results(home, path):
    with pytest.raises(StoreError):
        read_result(home, path)
    with pytest.raises(StoreError):
        discard(home, path)


@pytest.mark.parametrize("where", ["hidden", "folder", "final"])
def test_a_symbolic_link_leads_nowhere(home, root, tmp_path, where):
    outside = tmp_path / "outside"
    outside.mkdir()
    written = write_result(home, "j", "r", 1, TABLE)
    if where == "hidden":
        os.rename(root / written.hidden_path, outside / "r")
        os.symlink(outside / "r", root / written.hidden_path)
    elif where == "folder":
        (root / "results").mkdir()
        os.symlink(outside, root / "results/j")
    else:
        (root / "results/j").mkdir(parents=True)
        os.symlink(outside / "r.parquet", root / written.final_path)
    before = os.listdir(outside)
    with pytest.raises(StoreError, match="symbolic link"):
        publish(home, written.hidden_path, written.final_path)
    assert os.listdir(outside) == before


def test_results_live_in_an_object_store_too():
    home = RemoteHome(pafs._MockFileSystem(), "bucket/home")
    home.check_format(create=True)
    written = keep(home, TABLE)
    publish(home, written.hidden_path, written.final_path)
    assert read_result(home, written.final_path) == TABLE
    assert home.names(f"{STAGING}/results/daily_delays") == {}


def test_a_flipped_byte_in_a_result_is_an_error_that_names_it(home, root):
    written = keep(home, pa.table({"n": np.arange(1000) ** 2}))
    path = root / written.final_path
    data = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data[chunk.data_page_offset + chunk.total_compressed_size // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="daily_delays@"):
        read_result(home, written.final_path)


def test_the_names_of_builtin_types_are_short():
    assert type_name({1}) == "set"
    assert type_name(RUN) == builtins.str.__name__
