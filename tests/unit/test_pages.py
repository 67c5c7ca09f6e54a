"""Every block of every page is run, here or in `tests/e2e/test_pages.py`, or says why not."""

from __future__ import annotations

import os
import subprocess

import pytest

import pages
from pages import Block, Mismatch, blocks, loose, needs_cluster, sessions, unlike

PAGES = list(pages.pages())

NOT_RUN = {
    "README.md": ["tests/e2e/test_demo.py runs the demo, and CI the tests"],
    "docs/cluster.md": ["it needs the machines of a cluster"] * 3,
    "docs/operations.md": ["it needs a PostgreSQL; tests/contract runs the store over one"],
    "docs/tutorial.md": ["the tests run in an environment that has it"],
}
"""All blocks that are not run, by page, with what each says of it."""


def test_these_blocks_are_not_run_and_no_others():
    told = {page: [b.why_not for b in blocks(page) if b.why_not] for page in PAGES}
    assert {page: reasons for page, reasons in told.items() if reasons} == NOT_RUN
    assert sum(map(len, NOT_RUN.values())) <= 8


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_kinds_and_fit_a_screen(page):
    for block in blocks(page):
        assert all(len(line) <= 104 for line in block.body.splitlines()), block.place
        if block.kind == "console":
            assert list(sessions(block)), block.place


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not needs_cluster(page) and any(b.runs for b in blocks(page))],
)
def test_a_page_that_needs_no_cluster_does_what_it_says_without_ray(page, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAYSCHED_")}
    done = subprocess.run(
        pages.command(page, "--folder", str(tmp_path), "--no-ray", "--no-docker"),
        env={**env, "HOME": str(tmp_path), "PYTHONPATH": str(pages.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------ the harness itself


def console(body: str) -> Block:
    return Block(page="page.md", line=1, body=body, kind="console")


def test_a_command_runs_over_lines_and_what_is_below_it_is_what_it_prints():
    block = console("$ echo one \\\n  two\none two\n$ true\n$ echo three\nthree\n")
    assert list(sessions(block)) == [
        ("echo one \\\n  two", ["one two"]),
        ("true", []),
        ("echo three", ["three"]),
    ]
    with pytest.raises(Mismatch):
        list(sessions(console("no command\n")))


def test_shown_lines_must_be_printed_in_their_order_whatever_the_clock_says():
    printed = "job   next\n━━━━━\nload  2026-11-25 06:00:01Z  in 3h12m\nsent  1f2e3d4c5b\nend\n"
    assert unlike(["load 2025-01-01 06:00:01Z in 11m", "sent 9a8b7c6d5e"], printed) is None
    assert unlike(["load ... in 2h", "...", "end"], printed) is None
    assert unlike(["job ... next"], printed) is None
    assert unlike(["end", "load ..."], printed) == "load ..."
    assert unlike(["loads"], printed) == "loads"
    assert unlike(["3 jobs"], "4 jobs\n") == "3 jobs"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("flights@2026-11-22T06:00:00Z-ad1b9d", "flights@2027-01-02T03:04:05Z-4e5f60"),
        ("│ took 1.25s │", "took 340ms"),
        ("home /tmp/a/b", "home /home/me/raysched"),
    ],
)
def test_times_ids_and_paths_are_alike(one, other):
    assert loose(one) == loose(other)


def test_what_a_block_does_wrong_is_told_with_its_place(tmp_path):
    page = tmp_path / "page.md"
    for body, told in (
        ("```python\nx = 1\nassert x == 2\n```\n", "page.md:2"),
        ("```console\n$ false\n```\n", "`false` exits 1"),
        ("```console\n$ echo one\ntwo\n```\n", "is said to print\ntwo\nbut prints\none"),
        ("```python\nimport ray\n```\n", "runs without Ray"),
        ("```pyhton\n```\n", "what is a block of 'pyhton'?"),
        ("```toml file=a/job.toml\nimage = 1\n```\n", "image"),
        ("```sql\nSELECT nothing FROM nowhere;\n```\n", "nowhere"),
    ):
        page.write_text(body)
        done = subprocess.run(
            pages.command(str(page), "--folder", str(tmp_path), "--no-ray"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, body
        assert told in done.stdout + done.stderr


def test_files_are_written_and_namespaces_kept_from_block_to_block(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python file=lib/mine.py\nvalue = 3\n```\n"
        "```python\nfrom lib.mine import value\n```\n"
        "```console\n$ cat lib/mine.py\nvalue = 3\n```\n"
        "```text\nnot run\n```\n"
        "```python not-run: it needs a cloud\n1 / 0\n```\n"
        "```python\nassert value == 3\n```\n"
    )
    done = subprocess.run(
        pages.command(str(page), "--folder", str(tmp_path), "--then", "assert value == 3"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
