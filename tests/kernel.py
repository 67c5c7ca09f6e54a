"""A real notebook kernel, driven as a notebook drives it: cells in, outputs out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager


@dataclass
class Shown:
    """What a cell left behind: streams, errors, results, and each display with its updates."""

    text: str = ""
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    displays: list[list[dict[str, Any]]] = field(default_factory=list)
    took_s: float = 0.0


class Kernel:
    """A kernel of its own in a folder; the environment is the caller's, with changes."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(folder), env=env)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def send(self, code: str) -> str:
        """Begin to execute a cell."""
        return self._client.execute(code)

    def finish(self, cell: str, timeout_s: float = 90) -> Shown:
        """Wait for the end of a cell and return what it has shown."""
        shown, places, begin = Shown(), {}, time.monotonic()
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=begin + timeout_s - time.monotonic())
            except Empty:
                raise AssertionError(f"a cell did not end: {shown}") from None
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                shown.took_s = time.monotonic() - begin
                return shown
            self._take(shown, places, kind, content)

    @staticmethod
    def _take(shown: Shown, places: dict[str, list], kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            shown.text += content["text"]
        elif kind == "error":
            shown.error = f"{content['ename']}: {content['evalue']}"
        elif kind == "execute_result":
            shown.result = content["data"]
        elif kind == "display_data":
            place = [content["data"]]
            shown.displays.append(place)
            places[content.get("transient", {}).get("display_id", "")] = place
        elif kind == "update_display_data":
            places[content["transient"]["display_id"]].append(content["data"])

    def __call__(self, code: str, timeout_s: float = 90) -> Shown:
        """Execute a cell and return what it has shown; it must raise nothing."""
        shown = self.finish(self.send(code), timeout_s)
        assert not shown.error, shown
        return shown

    def fails(self, code: str) -> Shown:
        """Execute a cell that raises, and return what it has shown."""
        shown = self.finish(self.send(code))
        assert shown.error, shown
        return shown

    def interrupt(self) -> None:
        """Interrupt the cell as the stop button does."""
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """Kill the kernel's whole process group, as `kill -9` does, and leave nothing behind."""
        self._client.stop_channels()
        if self._manager.is_alive():
            self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
