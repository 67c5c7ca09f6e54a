"""A build context as bytes that depend on nothing but what the folder says.

Names are sorted; times, owners and all of a mode but its exec bit are left out: two
checkouts of one commit are one version of a job.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import NoReturn

from raysched.errors import DeclarationError
from raysched.runners import ignored
from raysched.spec.units import shown

LARGEST = 64 * 1024 * 1024


def pack(root: Path, *, job: str, dockerfile: str = "Dockerfile") -> bytes:
    """Return a folder as an uncompressed tar, without what is to be ignored.

    What that is stands in the Dockerfile's own `<its name>.dockerignore` if it has one,
    otherwise in the folder's `.dockerignore`.

    Raises:
        DeclarationError: over 64 MiB, a link that leads out of the folder, what is neither
            file, folder nor link, or what cannot be read.
    """
    root, archive = root.resolve(), io.BytesIO()
    try:
        names = _names(root, dockerfile)
        _check_size(root, names, job)
        # GNU's format and raw names: no locale, and no header that holds a time.
        with tarfile.open(
            fileobj=archive,
            mode="w",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar:
            for name in names:
                _add(tar, root, name, job)
    except OSError as error:
        _refuse(job, f"cannot be read: {error}", "see that the folder stays as it is.")
    code = archive.getvalue()
    if len(code) > LARGEST:
        _refuse_size(root, names, job, len(code))
    return code


def _names(root: Path, dockerfile: str) -> list[str]:
    """Return what of the folder travels, in an order that no locale changes."""
    file = root / f"{dockerfile}.dockerignore"
    file = file if file.is_file() else root / ".dockerignore"
    try:
        patterns = ignored.parse(file.read_text("utf-8-sig") if file.is_file() else "")
    except ValueError as error:
        raise DeclarationError(
            f"{file} cannot be understood.",
            why=str(error)[:300],
            fix="correct its patterns.",
        ) from None
    # These travel even if they are ignored, as with `docker build`.
    always = {name for name in (dockerfile, ".dockerignore") if os.path.lexists(root / name)}
    return sorted({*ignored.kept(root, patterns), *always}, key=os.fsencode)


def _add(tar: tarfile.TarFile, root: Path, name: str, job: str) -> None:
    path = root / name
    mode = path.lstat().st_mode
    entry = tarfile.TarInfo(name)  # its time and owners are 0
    if stat.S_ISLNK(mode):
        entry.type, entry.mode = tarfile.SYMTYPE, 0o777
        entry.linkname = _link(root, path, name, job)
        tar.addfile(entry)
    elif stat.S_ISDIR(mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    elif stat.S_ISREG(mode):
        content = path.read_bytes()
        entry.size, entry.mode = len(content), 0o755 if mode & stat.S_IXUSR else 0o644
        tar.addfile(entry, io.BytesIO(content))
    else:
        _refuse(
            job,
            f"{shown(name)} is neither a file, a folder nor a link",
            "remove it, or add it to .dockerignore.",
        )


def _link(root: Path, path: Path, name: str, job: str) -> str:
    to = os.readlink(path)
    if os.path.isabs(to) or not Path(os.path.realpath(path)).is_relative_to(root):
        _refuse(
            job,
            f"the link {shown(name)} leads to {shown(to)}, outside of it",
            "copy what it leads to into the folder, or add the link to .dockerignore.",
        )
    return to


def _check_size(root: Path, names: list[str], job: str) -> None:
    """Refuse before anything is read, so that a huge folder costs neither time nor memory."""
    total = sum(_size(root / name) for name in names)
    if total > LARGEST:
        _refuse_size(root, names, job, total)


def _size(path: Path) -> int:
    found = path.lstat()
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _refuse_size(root: Path, names: list[str], job: str, total: int) -> NoReturn:
    largest = sorted(names, key=lambda name: -_size(root / name))[:5]
    files = ", ".join(f"{shown(name)} ({_size(root / name):,})" for name in largest)
    raise DeclarationError(
        f"job {job!r}: the build context {root} has {total:,} bytes.",
        why=f"{LARGEST:,} bytes is the most; the largest are {files}.",
        fix="add what the image does not need to .dockerignore, or mount data in place of it.",
    )


def _refuse(job: str, why: str, fix: str) -> NoReturn:
    raise DeclarationError(f"job {job!r}: its build context is refused.", why=f"{why}.", fix=fix)
