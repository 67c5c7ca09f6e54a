"""A home in an object store, through pyarrow.fs.

Law: an upload gets its final name only when it is whole, by a copy on the store's
side.
"""

from __future__ import annotations

from contextlib import suppress

from pyarrow import fs as pafs

from raysched.store.home.base import Fill, Home


class RemoteHome(Home):
    """Objects below one prefix.

    There is no atomic exchange of many objects for one, so files are never rolled
    up, and what a crash leaves under `.staging` is for a lifecycle rule to expire.
    """

    can_swap = False

    def __init__(self, filesystem: pafs.FileSystem, root: str) -> None:
        self.fs = filesystem
        self._root = root.rstrip("/")

    def path(self, rel: str) -> str:
        return f"{self._root}/{rel}" if rel else self._root

    def names(self, folder: str) -> dict[str, bool]:
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        found = {
            info.base_name: info.type == pafs.FileType.Directory
            for info in self.fs.get_file_info(selector)
        }
        return dict(sorted(found.items()))

    def stage(self, temp: str, fill: Fill, *, keep: bool = False) -> None:
        # Stores without real folders ignore this; the others need it.
        self.fs.create_dir(self.path(temp).rpartition("/")[0], recursive=True)
        try:
            # Closing uploads even a file cut short by an error: hence the staging
            # name here too, and the removal below.
            with self.fs.open_output_stream(self.path(temp)) as file:
                fill(file)
        except BaseException:
            self.discard(temp)
            raise

    def place(self, temp: str, rel: str) -> None:
        self.fs.create_dir(self.path(rel).rpartition("/")[0], recursive=True)
        self.fs.move(self.path(temp), self.path(rel))

    def claim(self, temp: str, rel: str) -> None:
        if self.exists(rel):
            self.discard(temp)
        else:
            # Two at the same instant both come here; what has one name is the same.
            self.place(temp, rel)

    def sync(self, folder: str) -> None:
        """Nothing to do: an object store's answer means durable."""

    def discard(self, rel: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.delete_file(self.path(rel))

    def read_bytes(self, rel: str) -> bytes:
        with self.fs.open_input_stream(self.path(rel)) as file:
            return bytes(file.read())
