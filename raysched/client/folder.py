"""A folder of job files: each Python file is imported, and each `job.toml` read, by
itself, so that one that is broken hides none of the others."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from raysched.client.jobfile import JOB_FILE, line_of, read
from raysched.errors import InputError, NotFound, RayschedError
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import shown_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job, and the file that declares it."""

    job: DeclaredJob
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file that declares no usable job, and why: the error and the line in the file."""

    file: Path
    line: int | None
    error: str


@dataclass(slots=True)
class Scan:
    """What a folder holds."""

    folder: Path
    found: list[Found] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def scan(path: str | Path) -> Scan:
    """Return every job below a folder, or in one file, and every fault.

    Files and folders whose names begin with `_` or `.` are helpers, not job files; nor are
    the Python files of a folder that an image is built from, which its container runs.

    Raises:
        NotFound: there is no such folder or file.
        InputError: the file is none that declares jobs.
    """
    root = Path(path).resolve()
    if not root.exists():
        raise NotFound(
            f"there is no folder or file {shown_path(path)!r}.",
            why=f"it is looked for in {Path.cwd()}." if not Path(path).is_absolute() else None,
            fix="name a folder of job files, such as jobs/.",
        )
    if root.is_file() and root.suffix != ".py" and root.name != JOB_FILE:
        raise InputError(
            f"{shown_path(path)!r} is no job file.",
            why=f"jobs are declared in Python, or in a {JOB_FILE}.",
            fix="name a file that ends in .py, or a folder of them.",
        )
    folder = root if root.is_dir() else root.parent
    result = Scan(folder)
    with _apart(folder):
        for file in sorted(_files(root)):
            _take_in(result, file)
    return result


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for file in (*root.rglob("*.py"), *root.rglob(JOB_FILE)):
        parts = file.relative_to(root).parts
        hidden = any(part.startswith(("_", ".")) for part in parts)
        if not hidden and (file.name == JOB_FILE or not _is_in_an_image(root, file)):
            yield file


def _is_in_an_image(root: Path, file: Path) -> bool:
    """Whether a file lies in a build context below the root, or in one that is the root."""
    above = [folder for folder in file.parents if folder.is_relative_to(root)]
    return any(
        (folder / JOB_FILE).is_file() or (folder != root and (folder / "Dockerfile").is_file())
        for folder in above
    )


def _take_in(result: Scan, file: Path) -> None:
    try:
        jobs = [read(file)] if file.name == JOB_FILE else _declared(_import(file))
    except BaseException as error:  # a job file may do anything at import, also exit
        if isinstance(error, KeyboardInterrupt):
            raise
        result.faults.append(_fault(file, error))
        return
    taken = {each.job.name: each.file for each in result.found}
    for job in jobs:
        if job.name in taken:
            where = f"{taken[job.name].relative_to(result.folder)} declares it too"
            error_text = f"job {job.name!r} exists twice: {where}; choose another name."
            result.faults.append(Fault(file=file, line=job.origin.line, error=error_text))
            continue
        taken[job.name] = file
        result.found.append(Found(job=job, file=file))


def _declared(module: ModuleType) -> list[DeclaredJob]:
    """Return the jobs that a module declares itself; imported ones belong to their own file."""
    jobs = [value for value in vars(module).values() if isinstance(value, DeclaredJob)]
    own = [job for job in jobs if job.origin.module == module.__name__]
    return list({id(job): job for job in own}.values())


def _import(file: Path) -> ModuleType:
    name = f"raysched_jobs_{file.stem}"  # without its folder, which is no part of a version
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


@contextmanager
def _apart(folder: Path) -> Iterator[None]:
    """Let the folder's files import one another, and forget what they imported afterwards.

    A helper that stayed in `sys.modules` would be taken for that of the same name in the
    next folder, and would not be read again once it is edited. Being in no installed
    package, what it defines travels to the workers by value.
    """
    names = {file.stem for file in folder.glob("*.py")}
    names |= {file.parent.name for file in folder.glob("*/__init__.py")}
    others = _take_out(names)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # a job file may change the path, too
            sys.path.remove(str(folder))
        _take_out(names)
        sys.modules.update(others)


def _take_out(names: set[str]) -> dict[str, ModuleType]:
    """Remove the modules and packages of these names from `sys.modules`, and return them."""
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}


def _fault(file: Path, error: BaseException) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    line = lines[-1] if lines else getattr(error, "lineno", None)
    if file.name == JOB_FILE:
        line = line_of(file, error)
    return Fault(file=file, line=line, error=_text(error)[:2000])


def _text(error: BaseException) -> str:
    match error:
        case RayschedError():
            return str(error)
        case SyntaxError():  # without the file and the line, which stand before it
            return f"{type(error).__name__}: {error.msg}"
        case ModuleNotFoundError(name=str(name)):
            return (
                f"{type(error).__name__}: {error}\n"
                f"  fix: install {name} beside raysched, or import it in the function, where "
                "only the workers need it."
            )
    return f"{type(error).__name__}: {error}"
