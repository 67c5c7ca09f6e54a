"""What is shown of jobs, schedules, runs and clients in a notebook: harmless, small, useful."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

import raysched as rs
from raysched.client import cards
from raysched.client.glance import Looks, look
from raysched.errors import ClusterError
from raysched.show.card import Bar, Card, Facts, Lines, Table
from raysched.show.html import LIMIT, html
from raysched.spec.cards import job_card, schedule_card
from raysched.spec.words import in_words

NOW = datetime(2026, 11, 25, 21, 0, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</pre></td></table></div></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "&lt;script&gt; &#60;b> &amp;",
    "\x1b[2J\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "abc\u202edcba\u2066\u200b\ufeff",
    "\ud800 half a pair \udfff",
    "\x00\x08\x7f\x85\u2028",
    "<!-- --> <![CDATA[ ]]> <?php ?>",
]
ROW = {
    "run_id": "daily@2026-11-25T20:00:00Z",
    "job": "daily",
    "status": "running",
    "trigger": "schedule",
    "slot": datetime(2026, 11, 25, 20, 0, tzinfo=UTC),
    "timezone": "America/New_York",
    "created_at": datetime(2026, 11, 25, 20, 0, tzinfo=UTC),
    "started_at": datetime(2026, 11, 25, 20, 59, 52, tzinfo=UTC),
    "finished_at": None,
    "duration_s": None,
    "attempts": 2,
    "progress": (3, 10),
    "metrics": {"rows": 42},
    "params": '{"region": "EU"}',
    "reason": None,
}
OVER = {
    **ROW,
    "status": "failed",
    "progress": None,
    "metrics": '{"rows": 42.5}',
    "duration_s": 1.25,
    "finished_at": NOW,
    "reason": "ValueError: boom",
    "error_type": "ValueError",
    "error_message": "boom",
    "peak_memory_bytes": 3 * 1024 * 1024,
    "result_kind": None,
}
STATUS = {
    "home": "/home/me/raysched",
    "jobs": 2,
    "paused": 1,
    "runs": {"running": 3},
    "launcher": "l1",
    "launcher_state": "attached",
}
JOB = {
    "job": "daily",
    "running": 0,
    "queued": 0,
    "paused": False,
    "pause_note": None,
    "next_slot": datetime(2026, 11, 26, 11, 0, tzinfo=UTC),
    "timezone": "America/New_York",
    "schedule": "cron 0 6 * * * America/New_York",
}


class Page(HTMLParser):
    """The tags, attributes and text of a piece of HTML, read as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= set(attrs)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


TAGS = {"style", "div", "span", "code", "b", "table", "thead", "tbody", "tr", "th", "td", "pre"}
CLASSES = {"rsd", "dim", "bar", "good", "bad", "busy", "idle"}


def read(text: str) -> str:
    """Check that HTML holds nothing but our own tags and attributes, and return its text."""
    page = Page(text)
    assert page.open == []
    assert page.tags <= TAGS
    for name, value in page.attributes:
        assert (name == "class" and value in CLASSES) or (
            name == "style" and value.startswith("width:") and value.endswith("%")
        )
    assert len(text.encode()) <= LIMIT
    assert text.count("<style>") == 1
    return page.text.partition("}\n")[2].rpartition("}\n")[2]


def everywhere(text: str) -> Card:
    """Return a card with a text wherever one can stand."""
    return Card(
        kind=text,
        title=text,
        state=text,
        note=text,
        parts=(
            Facts(facts={text: text}),
            Bar(done=1, total=3),
            Table(header=(text, text), rows=[(text, text)] * 3, total=1000, of=text, states=1),
            Lines(name=text, lines=[text] * 3, total=7),
        ),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_stands(text):
    shown = html(everywhere(text))
    seen = read(shown)
    assert not any(mark in shown for mark in "\x00\x08\x1b\x7f\x85\u2028\u202e\u2066\u200b\ufeff")
    shown.encode()
    if text.isascii() and text.isprintable():
        assert seen.count(text) >= 10


@pytest.mark.parametrize("mark", ["x", "<", "\U0001f600", "\ud800", "\n"])
def test_a_megabyte_anywhere_fits_into_20_kb_and_what_is_cut_is_said(mark):
    seen = read(html(everywhere(mark * 1_000_000)))
    assert "more characters)" in seen


def test_whatever_does_not_fit_is_counted():
    rows = [("a" * 100, "b" * 100)] * 5000
    table = Table(header=("a", "b"), rows=rows, total=8312, of="jobs")
    seen = read(html(Card(kind="Client", title="x", parts=(table,))))
    shown = seen.count("a" * 100)
    assert 50 < shown < 100
    assert f"{shown} of 8,312 jobs" in seen
    lines = Lines(name="last lines", lines=["x" * 400] * 1000, total=9000)
    seen = read(html(Card(kind="Run", title="x", parts=(lines,))))
    assert f"{seen.count('x' * 400)} of 9,000 lines" in seen
    facts = Facts(facts={f"name {n}": "y" * 2000 for n in range(50)})
    seen = read(html(Card(kind="Job", title="x", parts=(facts, lines, table))))
    assert "of 50; more does not fit here" in seen
    assert "The rest does not fit here." in seen


def test_a_card_without_anything_is_a_card():
    assert "Job" in read(html(Card(kind="Job", title="x", parts=(Facts(facts={"a": ""}),))))
    assert Bar(done=0, total=0).share == 1


# ------------------------------------------------------------------ jobs and schedules


@rs.job(
    schedule=["0 6 * * *", rs.after_end("15m")],
    timezone="America/New_York",
    num_cpus=2,
    num_gpus=0.5,
    memory="2GiB",
    resources={"<ssd>": 1},
    retries=rs.Retry(3, delay="30s", backoff=2),
    timeout="1h30m",
    overlap="queue",
    params={"region": "<EU>"},
    env={"TOKEN": "hunter2"},
    tags=["etl"],
    priority=5,
    label_selector={"zone": "<a>"},
)
def daily(day: str = "", region: str = "EU"):
    """Compute <b>delays</b>.

    More.
    """


def test_a_job_shows_when_it_runs_with_what_and_under_which_policies():
    seen = read(html(job_card("Job", daily.spec, NOW)))
    for each in (
        "daily",
        "at 06:00 every day, America/New_York (0 6 * * *)",
        "15m after the end of the last run",
        "2026-11-26 06:00:00 EST",
        "in 14h",
        "2 CPU, 0.5 GPU, 1 <ssd>, 2GiB memory",
        "3, 30s apart, times 2 each, up to 1h",
        "1h30m",
        "queue",
        '{"region": "<EU>"}',
        "Compute <b>delays</b>.",
        "labels zone=<a>",
        "TOKEN",
    ):
        assert each in seen
    assert seen.count("06:00:00 EST") == 5
    assert "hunter2" not in seen
    assert "Compute" in daily._repr_html_()


def test_a_container_shows_its_image_and_its_secrets_by_name():
    job = rs.container(
        "words", image="acme/words:1", command=["count", "<x>"], secrets=["key"], memory="64MiB"
    )
    seen = read(job._repr_html_())
    for each in ("ContainerJob", "acme/words:1", '["count", "<x>"]', "key", "when it is triggered"):
        assert each in seen


def test_plain_reprs_are_one_short_line():
    assert repr(rs.cron("0 6 * * *", timezone="Europe/Berlin")) == (
        "<Schedule cron 0 6 * * * Europe/Berlin>"
    )
    assert repr(rs.every("15m")) == "<Schedule every 15m>"
    assert repr(rs.job(name="a")(lambda: None)) == "<Job a: no schedule>"


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        (rs.cron("30 1 * * *", timezone="Europe/Berlin"), "2026-11-26 01:30:00 CET"),
        (rs.every("6h"), "2026-11-26 00:00:00 UTC"),
        (rs.at("2027-01-01T00:00Z"), "2027-01-01 00:00:00 UTC"),
    ],
)
def test_a_schedule_shows_its_next_slots_with_their_zone(schedule, first):
    seen = read(html(schedule_card(schedule, NOW)))
    assert schedule.describe() in seen
    assert first in seen
    assert read(schedule._repr_html_())


def test_a_schedule_that_only_a_run_can_continue_promises_no_slot():
    assert "next slots" not in read(html(schedule_card(rs.after_end("5m"), NOW)))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 6 * * *", "at 06:00 every day"),
        ("@daily", "at 00:00 every day"),
        ("*/15 * * * *", "every 15 minutes"),
        ("* * * * *", "every minute"),
        ("0 * * * *", "every hour"),
        ("5,35 * * * *", "every hour at :05 and :35"),
        ("10 */2 * * *", "every 2 hours at :10"),
        ("0 6,18 * * MON-FRI", "at 06:00 and 18:00 on Monday to Friday"),
        ("15 9-17 * * 1-5", "every hour from 09:15 to 17:15 on Monday to Friday"),
        ("*/10 9-17 * * *", "every 10 minutes from 09:00 to 17:59"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        ("0 0 1,15 JAN *", "at 00:00 on day 1 and 15 of the month in January"),
        ("0 0 * * 5-7", "at 00:00 on Friday to Sunday"),
        ("0 0 * * 0,6", "at 00:00 on Sunday and Saturday"),
        ("0 0 * * 7", "at 00:00 on Sunday"),
    ],
)
def test_a_cron_expression_is_put_into_words(expression, words):
    assert in_words(rs.cron(expression)) == f"{words}, UTC ({expression})"


@pytest.mark.parametrize(
    "expression",
    ["*/7 * * * *", "0 0 13 * 5", "0 6 * * SUN#1", "H 6 * * *", "0 0 15W * *", "1-5 * * * *"],
)
def test_what_has_no_short_wording_stays_as_it_was_written(expression):
    schedule = rs.cron(expression)
    assert in_words(schedule) == schedule.describe()


# ------------------------------------------------------------------ runs and clients


def test_a_run_under_way_shows_its_slot_progress_and_last_lines():
    seen = read(html(cards.run_card(ROW, NOW, lines=["one", "two"])))
    for each in ("running", "for 8.00s", "15:00:00 EST", "3 of 10 (30%)", "rows 42", "one\ntwo"):
        assert each in seen
    assert cards.run_text(ROW, NOW) == "running for 8.00s, 3 of 10 (30%)"


def test_a_finished_run_shows_how_it_ended():
    seen = read(html(cards.run_card(OVER, NOW)))
    for each in ("failed", "after 1.25s", "ValueError: boom", "3.0 MiB", "rows 42.5"):
        assert each in seen
    assert seen.count("boom") == 1
    assert "partial/daily/x#2.ipynb" in read(
        html(cards.run_card({**OVER, "partial_path": "partial/daily/x#2.ipynb"}, NOW))
    )
    assert cards.run_text(OVER, NOW) == "failed after 1.25s: ValueError: boom"
    done = {**OVER, "status": "succeeded", "reason": None}
    assert cards.run_text(done, NOW) == "succeeded in 1.25s"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_run_says_is_harmless(text):
    row = {**OVER, "reason": text, "params": text, "error_message": text, "result_json": text}
    read(html(cards.run_card(row, NOW, lines=[text] * 10)))
    assert "\x1b" not in cards.run_text(row, NOW)
    assert len(cards.run_text({**row, "reason": "x" * 10**6}, NOW)) < 250


def test_a_client_shows_its_jobs_and_counts():
    paused = {**JOB, "job": "b", "paused": True, "pause_note": "<b>off</b>"}
    late = {**JOB, "job": "c", "next_slot": None, "running": 2}
    seen = read(html(cards.client_card(STATUS, [JOB, paused, late], {"daily": "failed"}, NOW)))
    for each in ("2 (1 paused)", "3 running", "06:00:00 EST", "in 14h", "failed", "<b>off</b>"):
        assert each in seen
    many = cards.client_card(STATUS, [JOB] * 8312, {}, NOW)
    assert "50 of 8,312 jobs" in read(html(many))
    assert cards.client_text(STATUS) == "2 jobs, 1 paused, 3 running"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("starting", "is starting; runs wait for it"),
        ("lost", "none answers; runs wait"),
        (None, "none is attached; runs wait"),
    ],
)
def test_a_client_says_of_a_launcher_that_is_starting_something_else_than_of_a_lost_one(
    state, said
):
    status = {**STATUS, "launcher": None, "launcher_state": state}
    assert said in read(html(cards.client_card(status, [], {}, NOW)))
    assert "launcher" not in read(html(cards.client_card(STATUS, [], {}, NOW)))


def test_a_scheduler_that_is_gone_is_said_and_never_raised():
    def gone():
        raise ClusterError("the scheduler does not answer.\n\x1b[2J")

    def broken():
        raise ValueError("x" * 10**6)

    assert look(gone) == (None, "the scheduler does not answer. \\x1b[2J")
    answer, why = look(broken)
    assert answer is None
    assert len(why) < 600
    card = cards.unknown_card("Run", "a@b", "<b>gone")
    assert "not answering" in read(html(card))


WARNED = [
    {"job": "a", "warnings": []},
    {"job": "train", "warnings": [f"no node has {'x' * 400} free; fix: add <b>", "and it is late"]},
]


def test_what_a_deploy_warns_of_is_shown_whole_and_nothing_where_it_does_not():
    assert cards.warnings_card("Deploy", WARNED[:1]) is None
    page = html(cards.warnings_card("Deploy", WARNED))
    assert "1 of 2 jobs" in page
    assert f"<th>train</th><td>no node has {'x' * 400} free; fix: add &lt;b&gt;\nand it" in page
    assert '<b class="idle">warning</b>' in page
    assert "<th>a</th>" not in page
    assert "<code></code>" not in page
    assert "of 1 job" not in html(cards.warnings_card("Plan", WARNED[1:]))


def test_the_looks_of_a_long_list_share_their_time():
    now = [0.0]
    looks = Looks(clock=lambda: now[0])

    def slow():
        now[0] += 0.5
        return "seen"

    def gone():
        now[0] += 2
        raise ClusterError("the scheduler does not answer.")

    assert [looks.look(slow)[0] for _ in range(6)] == ["seen"] * 4 + [None] * 2
    assert looks.look(slow)[1] == "not looked up: too many at once."
    now[0] += 1.1
    assert looks.look(gone) == looks.look(gone) == (None, "the scheduler does not answer.")
    assert now[0] == pytest.approx(5.1)  # the second was not asked
    now[0] += 1.1
    assert looks.look(slow) == ("seen", "")
