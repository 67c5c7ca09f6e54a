"""The documentation as a program: a page's fenced blocks, carried out in order as by its reader.

    python tests/pages.py docs/tutorial.md    # in a folder and a home of its own

A block's info string says what becomes of it.

| info string | what becomes of the block |
|---|---|
| `python` | it runs, in one namespace for the page |
| `console` | each line after `$` runs in bash; what is shown below it must be printed |
| `sql` | each statement runs in DuckDB |
| `toml`, `yaml` | it is loaded by what it is for: a `job.toml`, a file for `ray up` |
| `text`, nothing | it is shown only: pictures, and output of the blocks above |
| any, with `file=NAME` | it is written to that file of the page's folder, and not run by itself |
| any, with `cluster` | the page runs on a real Ray |
| any, with `docker` | it runs where there is a Docker engine |
| any, with `not-run: WHY` | it is not run; `tests/unit/test_pages.py` lists these |
"""

from __future__ import annotations

import argparse
import ast
import linecache
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = ("python", "console", "sql", "toml", "yaml", "dockerfile", "text", "")
WORDS = ("cluster", "docker")

_BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INFO = re.compile(
    r"(?P<kind>[a-z]*)(?P<words>(?: (?:cluster|docker))*)(?: file=(?P<file>[\w./-]+))?"
    r"(?: not-run: (?P<why>.+))?"
)
_COMMAND_S = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int  # of the page, from 1, at which its body begins
    body: str
    kind: str
    words: tuple[str, ...] = ()
    file: str | None = None
    why_not: str | None = None

    @property
    def runs(self) -> bool:
        """Whether there is anything to carry out."""
        return self.why_not is None and self.kind not in ("text", "")

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, Path]:
    """Return every page by its path below the root, the README first."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {str(path.relative_to(ROOT)): path for path in found}


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order.

    Raises:
        ValueError: an info string is none of those above.
    """
    text, found = (ROOT / page).read_text(), []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(3)) + 1
        info = _INFO.fullmatch(match[2].strip())
        if info is None or info["kind"] not in KINDS:
            raise ValueError(f"{page}:{line - 1}: what is a block of {match[2]!r}?")
        found.append(
            Block(
                page=page,
                line=line,
                body=textwrap.dedent(match[3]),
                kind=info["kind"],
                words=tuple(info["words"].split()),
                file=info["file"],
                why_not=info["why"],
            )
        )
    return found


def needs_cluster(page: str) -> bool:
    """Whether a page is one that runs on a real Ray."""
    return any("cluster" in block.words for block in blocks(page))


# ------------------------------------------------------------------ carrying a page out


class Mismatch(AssertionError):
    """A block did not do what its page says."""


class Reader:
    """Follows a page in a folder, block by block."""

    def __init__(self, folder: Path, *, docker: bool) -> None:
        self.folder = folder
        self._docker = docker
        self._main = types.ModuleType("__main__")
        sys.modules["__main__"] = self._main  # as in a script: what it defines travels by value

    def follow(self, page: str) -> None:
        for block in blocks(page):
            if block.runs and (self._docker or "docker" not in block.words):
                self._carry_out(block)

    def _carry_out(self, block: Block) -> None:
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body)
        if block.kind == "toml":
            self._load_toml(block)
        elif block.kind == "yaml":
            self._load_yaml(block)
        elif not block.file:
            {"python": self._python, "console": self._console, "sql": self._sql}[block.kind](block)

    def _python(self, block: Block) -> None:
        lines = block.body.splitlines(keepends=True)
        linecache.cache[block.place] = (len(block.body), None, lines, block.place)
        exec(compile(block.body, block.place, "exec"), vars(self._main))

    def _console(self, block: Block) -> None:
        for command, shown in sessions(block):
            env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
            env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_COMMAND_S,
            )
            if done.returncode != 0:
                raise Mismatch(f"{block.place}: `{command}` exits {done.returncode}\n{done.stdout}")
            if missing := unlike(shown, done.stdout):
                raise Mismatch(
                    f"{block.place}: `{command}` is said to print\n{missing}\nbut prints\n"
                    + done.stdout
                )

    def _sql(self, block: Block) -> None:
        import duckdb

        code = re.sub(r"--.*", "", block.body)
        for statement in filter(None, (part.strip() for part in code.split(";"))):
            duckdb.sql(statement).fetchall()

    def _load_toml(self, block: Block) -> None:
        tomllib.loads(block.body)
        if block.file and block.file.endswith("job.toml"):
            from raysched.client.jobfile import read

            dockerfile = (self.folder / block.file).parent / "Dockerfile"
            if "image" not in tomllib.loads(block.body) and not dockerfile.exists():
                dockerfile.write_text("FROM scratch\n")
            read(self.folder / block.file)

    def _load_yaml(self, block: Block) -> None:
        import yaml

        config = yaml.safe_load(block.body)
        if "cluster_name" in config:
            from ray.autoscaler._private.util import prepare_config, validate_config

            validate_config(prepare_config(config))


def sessions(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Return each command of a console block, with the lines that it is said to print."""
    command: str | None = None
    shown: list[str] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        elif command is None:
            raise Mismatch(f"{block.place}: a console block begins with a command: `$ ...`")
        elif command.endswith("\\") and not shown:
            command += f"\n{line}"
        else:
            shown.append(line)
    if command is not None:
        yield command, shown


# ------------------------------------------------------------------ loose comparison

_TIME = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_VARYING = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"[\u2500-\u257f|]"), " "),
    (
        re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?"),
        "<t>",
    ),
    (re.compile(rf"\b{_TIME}Z?\b"), "<t>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{6,}\b"), "<id>"),
    (re.compile(r"\b(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+\b"), "<d>"),
    (re.compile(r"\d+(?:\.\d+)? ?(?:[kMG]i?B|bytes)\b"), "<size>"),
    (re.compile(r"\bpid \d+"), "pid <n>"),
    (re.compile(r"(?:/tmp|/home|/root|~)[\w./-]*"), "<path>"),
    (re.compile(r"\s+"), " "),
)


def loose(line: str) -> str:
    """Return a line without what differs from one run to the next: times, ids, sizes, paths."""
    for pattern, by in _VARYING:
        line = pattern.sub(by, line)
    return line.strip()


def unlike(shown: list[str], printed: str) -> str | None:
    """Return the first shown line that is not printed, after those before it; None for none.

    A line may be cut with `...`, which stands for anything, or be one.
    """
    rest = iter([loose(line) for line in printed.splitlines()])
    for line in shown:
        wanted = loose(line.replace("…", "..."))
        if not wanted.strip(". "):
            continue
        pattern = re.compile(re.sub(r"(\\ )?\\\.\\\.\\\.(\\ )?", ".*", re.escape(wanted)))
        if not any(pattern.search(each) for each in rest):
            return line
    return None


class _NoRay:
    """Refuses to import Ray, in this process."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] == "ray":
            raise ImportError("a page without `cluster` blocks runs without Ray")


def command(page: str, *options: str) -> list[str]:
    """Return the command that follows a page."""
    return [sys.executable, str(Path(__file__)), page, *options]


def main() -> None:
    parser = argparse.ArgumentParser(description="follow a page of the documentation")
    parser.add_argument("page")
    parser.add_argument("--folder", type=Path, help="where its files go; a new one if left out")
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--no-docker", action="store_true")
    parser.add_argument("--then", default="", help="Python that runs in the page's namespace")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="page-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    sys.path[:0] = [str(folder)]
    if asked.no_ray:
        sys.meta_path.insert(0, _NoRay())  # type: ignore[arg-type]
    reader = Reader(folder, docker=not asked.no_docker)
    reader.follow(asked.page)
    exec(compile(ast.parse(asked.then), "the test", "exec"), vars(sys.modules["__main__"]))
    print(f"followed {shlex.quote(asked.page)}")


if __name__ == "__main__":
    main()
