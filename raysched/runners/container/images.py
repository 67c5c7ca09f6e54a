"""Has a container's image ready on the node: built once for its content, or pulled.

One build of a content, and one pull of a reference, at a time on a node: whoever
comes second waits, and its log says so. What a failed build leaves is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from docker.auth import encode_header
from docker.utils import parse_repository_tag

from raysched.errors import BuildFailed, ContainerError, EngineUnavailable, ImageUnavailable
from raysched.runners.container import node, options, pruning
from raysched.runners.container.engine import Engine
from raysched.runners.container.faults import Absent, Away, Quiet, Refused
from raysched.runners.container.output import Output
from raysched.runners.container.stream import Stream
from raysched.runners.container.task import Task
from raysched.spec.container import Pull
from raysched.spec.units import spell

_QUIET_S = 3600.0  # a build or pull that says nothing for so long hangs
_LONGEST_S = 6 * 3600.0  # and so does one that always has something to say
_GLANCE_S = 0.1
_FROM = re.compile(r"^Step \d+/\d+ : FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_MADE = re.compile(r"^ ---> ([0-9a-f]{12,64})$")


class Interrupted(Exception):
    """Raised when the attempt is to end while its image is still being made."""


def reference(task: Task) -> str:
    """Return the image that a task runs: its own, or the tag of what its context builds."""
    container = task.container
    if container.build is None:
        assert container.image
        # Without a tag, a pull would fetch every tag there is.
        name, tag = parse_repository_tag(container.image)
        return container.image if tag else f"{name}:latest"
    build = container.build
    content = [task.code_hash, build.dockerfile, build.target, sorted(build.args.items())]
    return f"raysched-build:{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]}"


def fetch(
    engine: Engine,
    task: Task,
    locks: Path,
    output: Output,
    ended: Callable[[], bool],
    *,
    longest_s: float = _LONGEST_S,
) -> None:
    """Build or pull the image of a task; `ended` says that it is not wanted any more.

    Raises:
        ImageUnavailable: it is not there and may not or cannot be pulled.
        BuildFailed: its context does not build; says at which step and why. Or it has not
            done so after `longest_s`.
        SecretMissing: the registry's login is not on this node.
        EngineUnavailable: the engine went away meanwhile.
        Interrupted: `ended` came true.
    """
    image, container = reference(task), task.container
    if container.build is None and container.pull is Pull.NEVER:
        raise ImageUnavailable(
            f"this node has no image {image!r}.",
            why="the job is declared with pull='never'.",
            fix="load it there, or declare pull='missing'.",
        )
    with _alone(locks, image, output, ended) as waited:
        if container.build or (waited and container.pull is not Pull.ALWAYS):
            with suppress(Absent):
                engine.image(image)
                return
        last = time.monotonic() + longest_s

        def over() -> bool:
            return ended() or time.monotonic() >= last

        try:
            if container.build is None:
                _pull(engine, task, image, output, over)
            else:
                with pruning.building(locks):
                    found = _build(engine, task, image, output, over)
                _bases_file(locks, image).write_text(json.dumps(found))
        except (Away, Quiet) as error:
            if ended():
                raise Interrupted from error
            if over() or isinstance(error, Quiet):
                raise _endless(task, image, longest_s if over() else _QUIET_S) from error
            raise EngineUnavailable(
                "the container engine went away while it fetched an image.",
                why=str(error),
                fix="is it well? A retry begins again.",
            ) from error


def _endless(task: Task, image: str, after_s: float) -> ContainerError:
    after = spell(timedelta(seconds=after_s))
    if task.container.build is None:
        return ImageUnavailable(
            f"the image {image!r} was given up.",
            why=f"it was not pulled after {after}.",
            fix="is its registry well? A retry begins again.",
        )
    return BuildFailed(
        f"the build of the image of job {task.job!r} was given up.",
        why=f"it had not ended after {after}.",
        fix="does a step wait for what never comes? Its lines are in the run's log.",
    )


def bases(task: Task, locks: Path) -> Sequence[str]:
    """Return what a task's image was built upon on this node: `name:tag@sha256:…` each.

    Empty for an image that was not built here, or not by raysched.
    """
    with suppress(OSError, ValueError):
        found: list[str] = json.loads(_bases_file(locks, reference(task)).read_text())
        return found
    return ()


def _bases_file(locks: Path, image: str) -> Path:
    return locks / f"{hashlib.sha256(image.encode()).hexdigest()[:32]}.bases"


def _build(
    engine: Engine, task: Task, tag: str, output: Output, ended: Callable[[], bool]
) -> list[str]:
    """Build an image, and return the images of its FROMs by their digests."""
    build = task.container.build
    assert build
    output.say(f"building the image {tag} from {build.dockerfile}")
    params: dict[str, Any] = {
        "t": tag,
        "dockerfile": build.dockerfile,
        "buildargs": json.dumps(dict(build.args)),
        "labels": json.dumps({"raysched.build": task.code_hash, "raysched.job": task.job}),
        "rm": 1,
        "forcerm": 1,
        **options.build_limits(task, cpus=engine.cpus),
    }
    if build.target is not None:
        params["target"] = build.target
    headers = {"Content-Type": "application/x-tar"}
    auth = task.container.registry_auth
    if auth is not None:
        login = node.registry_auth(auth)
        server = login.pop("serveraddress", "https://index.docker.io/v1/")
        headers["X-Registry-Config"] = encode_header({server: login}).decode()
    made: list[str] = []
    steps: list[str] = []
    fault = ""
    try:
        stream = engine.stream(
            "POST", "/build", params=params, data=task.context, headers=headers, quiet_s=_QUIET_S
        )
        with _interruptible(stream, ended):
            text = ""
            for said in stream.objects():
                fault = said.get("error", fault)
                text += said.get("stream", "") or (said.get("status", "") + "\n")
                *lines, text = text.split("\n")
                for line in filter(str.strip, lines):
                    output.say(line, build=True)
                    made += _MADE.findall(line)
                    steps.append(line)
    except (Refused, Absent) as error:
        fault = str(error)
    finally:
        froms = _froms(steps)
        # An image that was pulled by its digest has no tag either, and is nobody's to remove.
        _discard(engine, [image for image in made if image not in froms])
    if fault:
        output.say(fault, build=True)
        raise BuildFailed(
            f"the image of job {task.job!r} cannot be built.",
            why=fault[:1000],
            fix="the lines of the build are in the run's log, above this one.",
        )
    return [_pinned(engine, name, image) for image, name in froms.items()]


def _froms(steps: Sequence[str]) -> dict[str, str]:
    """Return the images that a build began from, by their ids, but for its own stages."""
    found: dict[str, str] = {}
    stages: set[str] = set()
    begun = None
    for line in steps:  # between a FROM and its id stands what a pull says
        if line.startswith("Step "):
            begun = _FROM.match(line)
        elif begun and (id_ := _MADE.match(line)):
            name, stage = begun.groups()
            if name.lower() not in stages:
                found[id_[1]] = name
            stages.add((stage or "").lower())
            begun = None
    return found


def _pinned(engine: Engine, name: str, image: str) -> str:
    """Return an image that a FROM names, or an ARG in it, with its digest."""
    try:
        known = engine.image(image)
    except Absent:  # somebody removed it meanwhile
        return f"{name}@{image}"
    if "$" in name:
        name = next(iter([*(known["RepoTags"] or ()), *(known["RepoDigests"] or ())]), name)
    digest = engine.digest(known["Id"], name).rpartition("@")[2]
    return f"{name.partition('@')[0]}@{digest}"


def _discard(engine: Engine, made: Sequence[str]) -> None:
    """Remove what a build made and nothing is built on: a failed one's, and all stages but one."""
    for image in reversed(made):
        with suppress(Absent, Refused, Away, Quiet):  # refused: others are built on it
            if not engine.image(image)["RepoTags"]:
                _remove_unused(engine, image)


def _remove_unused(engine: Engine, image: str) -> None:
    for _ in range(20):
        try:
            engine.remove_image(image)
            return
        except Refused as error:
            # The container of a step that failed or was broken off goes after the answer.
            if "container" not in str(error):
                raise
            time.sleep(_GLANCE_S)


def _pull(
    engine: Engine, task: Task, image: str, output: Output, ended: Callable[[], bool]
) -> None:
    name, tag = parse_repository_tag(image)
    headers, auth = {}, task.container.registry_auth
    if auth is not None:
        headers["X-Registry-Auth"] = encode_header(node.registry_auth(auth)).decode()
    output.say(f"pulling the image {image}")
    fault = ""
    try:
        stream = engine.stream(
            "POST",
            "/images/create",
            params={"fromImage": name, "tag": tag},
            headers=headers,
            quiet_s=_QUIET_S,
        )
        with _interruptible(stream, ended):
            for said in stream.objects():
                fault = said.get("error", fault)
                if "progressDetail" not in said and said.get("status"):
                    output.say(said["status"], build=True)
    except (Refused, Absent) as error:
        fault = str(error)
    if fault:
        raise ImageUnavailable(
            f"the image {image!r} cannot be pulled.",
            why=fault[:1000],
            fix="is the name right, and may this node reach its registry? See registry_auth.",
        )


@contextmanager
def _alone(locks: Path, image: str, output: Output, ended: Callable[[], bool]) -> Iterator[bool]:
    """Hold the node's lock for an image, and say whether it had to be waited for."""
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(image.encode()).hexdigest()[:32]
    lock = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    waited = False
    try:
        while True:
            if ended():
                raise Interrupted
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    output.say(f"waiting for another attempt that fetches the image {image}")
                waited = True
                time.sleep(_GLANCE_S)
        yield waited
    finally:
        os.close(lock)


@contextmanager
def _interruptible(stream: Stream, ended: Callable[[], bool]) -> Iterator[None]:
    """Break a stream as soon as its attempt is to end; the engine then stops the work."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_GLANCE_S):
            if ended():
                stream.abort()
                return

    watcher = threading.Thread(target=watch, daemon=True, name="raysched-image")
    watcher.start()
    try:
        with stream:
            yield
    finally:
        done.set()
        watcher.join()
