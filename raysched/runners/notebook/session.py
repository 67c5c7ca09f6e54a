"""A kernel, and the cells that run in it one after the other, as the worker sees them.

nbclient does the talking. Its own way to run a whole notebook is not used: it takes this
process's signals. What the cells print goes on to this process's output at once, which is
the run's log; what they display stays in the notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from raysched.errors import InvalidParameter
from raysched.runners.current import Current, current
from raysched.runners.native import Failed
from raysched.runners.notebook.document import document, is_code, tags
from raysched.runners.notebook.failure import Raised, failed, plain
from raysched.runners.notebook.inside import MIME, entry
from raysched.runners.notebook.kernel import kernel, own_folder
from raysched.spec.notebook import INJECTED, ExecutedNotebook

_STREAM_MOST = 1024 * 1024
"""Characters of one cell's printed output that stay in the notebook; the log has its own cap."""

_START_S = 300
"""How long a kernel may take to answer: a busy node is no reason to fail."""

_CUT = "\n[raysched: the rest of this output is left out here; see the run's log]\n"


def run(text: str, params: Mapping[str, Any]) -> ExecutedNotebook:
    """Run a notebook in a kernel of its own and return it with its outputs.

    Raises:
        Failed: a cell raised, or the kernel died; it has the notebook as far as it came.
    """
    with own_folder() as folder:
        session = Session(document(text, params, current()), kernel(folder), current())
        try:
            asyncio.run(session.run())
        except Failed as failed:
            failed.failure = replace(failed.failure, notebook=_executed(session.nb))
            raise
    return _executed(session.nb)


def _executed(notebook: nbformat.NotebookNode) -> ExecutedNotebook:
    written: str = nbformat.writes(notebook)
    # A lone surrogate that a cell printed becomes the JSON escape that it was.
    return ExecutedNotebook(written.encode("utf-8", "backslashreplace"))


class Session(NotebookClient):  # type: ignore[misc]
    """One notebook in one kernel."""

    def __init__(
        self, notebook: nbformat.NotebookNode, kernel: AsyncKernelManager, run: Current
    ) -> None:
        super().__init__(notebook, km=kernel, startup_timeout=_START_S)
        self._run = run
        self._kept = 0  # characters of the cell's printed output
        self._number = 0  # of the cell, as in `In [3]`
        self._reply: Mapping[str, Any] = {}  # what the kernel answered to the cell
        self.on_cell_executed = self._executed

    async def run(self) -> None:
        """Run all cells.

        Raises:
            Failed: a cell raised, or the kernel died.
        """
        try:
            await self.async_start_new_kernel()
            await self.async_start_new_kernel_client()
            await self._prepare()
            for index, cell in enumerate(self.nb.cells):
                if is_code(cell) and cell.source.strip():
                    await self._run_cell(index, cell)
            self.set_widgets_metadata()
        finally:
            if self.km is not None:  # a client that could not start has cleaned up
                await self._async_cleanup_kernel()

    async def _prepare(self) -> None:
        reply = await self.async_wait_for_reply(self.kc.kernel_info())
        self.nb.metadata.language_info = nbformat.from_dict(reply["content"]["language_info"])
        code = entry(self._run)
        reply = await self.async_wait_for_reply(
            self.kc.execute(code, silent=True, store_history=False)
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError(
                f"the kernel cannot import raysched: {plain(str(reply['content'].get('evalue')))}"
            )

    async def _run_cell(self, index: int, cell: nbformat.NotebookNode) -> None:
        injected = INJECTED in tags(cell)
        skipped = self.skip_cells_with_tag in tags(cell)
        self._number += not injected and not skipped
        self._kept, self._reply = 0, {}
        raised = None
        try:
            # Not in the history: the other cells keep the numbers that they have in the file.
            await self.async_execute_cell(cell, index, store_history=not injected)
        except CellExecutionError:
            raised = Raised(
                kind=str(self._reply.get("ename")),
                message=str(self._reply.get("evalue")),
                traceback="\n".join(map(str, self._reply.get("traceback", ()))),
            )
        except DeadKernelError:
            code = await self.km.provisioner.poll()
            raised = Raised(kind="DeadKernel", message=f"the kernel's process ended with {code}")
        if any(each.get("source") == "ask_exit" for each in self._reply.get("payload", ())):
            message = "the cell called exit(), and only running to the end is a success"
            raised = Raised(kind="SystemExit", message=message)
        if raised:
            raise self._told(failed(cell, self._number, raised))
        if injected:
            cell.execution_count = None

    def _executed(self, *, execute_reply: Mapping[str, Any], **_: Any) -> None:
        self._reply = execute_reply["content"]

    def _told(self, failed: Failed) -> Failed:
        """Return a failure that the log holds, too."""
        failure = failed.failure
        _say(
            sys.stderr, "".join(f"{text}\n" for text in (failure.reason, failure.traceback) if text)
        )
        return failed

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Take in one message of the kernel, as nbclient calls it."""
        content = msg["content"]
        if msg["msg_type"] == "display_data" and MIME in content["data"]:
            self._hear(content["data"][MIME])
            return None
        return super().process_message(msg, cell, cell_index)

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: Any, cell_index: int) -> Any:
        """Take in one output of a cell, as nbclient calls it."""
        if msg["msg_type"] != "stream":
            return super().output(outs, msg, display_id, cell_index)
        text = msg["content"]["text"]
        _say(sys.stdout if msg["content"]["name"] == "stdout" else sys.stderr, text)
        room = _STREAM_MOST - self._kept
        self._kept += len(text)
        if room <= 0:
            return None
        msg["content"]["text"] = text if len(text) <= room else text[:room] + _CUT
        return _joined(outs, super().output(outs, msg, display_id, cell_index))

    def _hear(self, told: Any) -> None:
        """Pass on what the kernel tells of the run; it may tell anything."""
        with contextlib.suppress(InvalidParameter, TypeError, ValueError, KeyError, AttributeError):
            if told["progress"] is not None:
                self._run.progress(*told["progress"])
            for name, value in told["metrics"].items():
                self._run.metric(name, value)


def _joined(outs: list[Any], out: Any) -> Any:
    """Make printed text one output with what came right before it, as Jupyter shows it."""
    if out is None or len(outs) < 2 or outs[-1] is not out:
        return out
    before = outs[-2]
    if before.output_type != "stream" or before.name != out.name:
        return out
    before.text += out.text
    outs.pop()
    return before


def _say(stream: Any, text: str) -> None:
    """Print what the kernel printed, now and whatever characters it has."""
    stream.write(text.encode("utf-8", "backslashreplace").decode())
    stream.flush()
