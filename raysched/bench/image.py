"""The image that the container benchmark runs: one static program, with or without a registry."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import docker

from raysched.errors import EngineUnavailable, ImageUnavailable

IMAGE = "raysched-bench:busybox"
_PULLED = "busybox:1.36-musl"


@contextmanager
def provided() -> Iterator[Any]:
    """A client of this node's Docker engine, which has `IMAGE` for so long.

    Raises:
        EngineUnavailable: none answers.
        ImageUnavailable: there is no static busybox here, and none can be pulled.
    """
    try:
        engine = docker.APIClient(**docker.utils.kwargs_from_env(), version="auto")
        engine.ping()
    except docker.errors.DockerException as error:
        raise EngineUnavailable(
            "no Docker engine answers here.",
            why=str(error)[:300],
            fix="start one, or set DOCKER_HOST; the other benchmarks need none.",
        ) from error
    try:
        _make(engine)
        yield engine
    finally:
        with suppress(docker.errors.APIError):
            engine.remove_image(IMAGE, force=True)
        engine.close()


def _make(engine: Any) -> None:
    repository, _, tag = IMAGE.partition(":")
    busybox = shutil.which("busybox")
    if busybox is not None:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(busybox, "bin/busybox")
        engine.import_image_from_data(file.getvalue(), repository=repository, tag=tag)
        return
    try:
        engine.pull(_PULLED)
        engine.tag(_PULLED, repository, tag)
    except docker.errors.APIError as error:
        raise ImageUnavailable(
            "the benchmark has no image to run.",
            why=f"there is no busybox here, and {_PULLED} cannot be pulled: {str(error)[:300]}",
            fix="install Debian's busybox-static.",
        ) from error
