"""Images: built once for their content, pulled as declared, never left half-made."""

import os
import time

import pytest

import docker_engine
from container_task import make_task
from raysched.errors import BuildFailed
from raysched.runners.container import pruning, stop
from raysched.runners.container.engine import Engine
from raysched.runners.container.images import fetch, reference
from raysched.runners.container.output import Output
from raysched.runners.container.task import IMAGES
from raysched.spec.container import Build, Pull
from support import until

FROM = f"FROM {docker_engine.BASE}\n"


def texts(lines, *streams):
    return [line.text for line in lines if line.stream in streams]


def test_an_image_is_built_from_the_context_with_its_arguments(ran, context, key):
    files = context(
        Dockerfile=f'{FROM}ARG WHO\nCOPY greet /greet\nENV WHO=$WHO\n# {key}\nCMD ["sh", "/greet"]',
        greet="echo hello $WHO",
    )
    ending, lines = ran(build=Build(args={"WHO": "world"}), context=files)
    assert texts(lines, "stdout") == ["hello world"]
    assert any(line.startswith("Step 1/") for line in texts(lines, "build"))
    assert ending.image.startswith("sha256:")
    other, lines = ran(build=Build(args={"WHO": "you"}), context=files)
    assert texts(lines, "stdout") == ["hello you"]
    assert other.image != ending.image


def test_a_build_that_never_ends_is_given_up_though_it_goes_on_talking(context, key, tmp_path):
    files = context(Dockerfile=f"{FROM}# {key}\nRUN while sleep 0.1; do echo waiting; done\n")
    task = make_task(build=Build(), context=files)
    output = Output(tmp_path / "log", 1 << 20)
    with pytest.raises(BuildFailed, match="given up") as raised:
        fetch(Engine.here(), task, tmp_path, output, lambda: False, longest_s=2)
    assert "after 2s" in raised.value.why
    assert "waiting" in texts(output.tail(), "build")


def test_a_stage_of_a_dockerfile_of_another_name_is_built(ran, context, key):
    files = context(
        other=f"{FROM}ENV X={key}\nFROM {docker_engine.BASE} AS second\nENV X=2\n"
        f"FROM {docker_engine.BASE}\nENV X=3\n"
    )
    _, lines = ran("echo $X", build=Build(dockerfile="other", target="second"), context=files)
    assert texts(lines, "stdout") == ["2"]


def test_a_stage_may_begin_from_another_stage(ran, context, key, engine):
    base = docker_engine.BASE
    files = context(
        Dockerfile=f"FROM {base} AS Base\nENV X={key}\nFROM base as build\nRUN echo $X > /x\n"
        f"FROM {base}\nCOPY --from=build /x /x\n"
    )
    ending, lines = ran("cat /x", build=Build(), context=files)
    assert texts(lines, "stdout") == [key], ending.fault
    assert ending.image.endswith(f" on {base}@{engine.inspect_image(base)['Id']}")


def test_a_base_that_an_argument_names_is_recorded_by_its_own_name(ran, context, key):
    files = context(Dockerfile=f"ARG BASE=none\nFROM ${{BASE}}\nENV X={key}\n")
    ending, _ = ran("true", build=Build(args={"BASE": docker_engine.BASE}), context=files)
    assert f" on {docker_engine.BASE}@sha256:" in ending.image


def test_the_same_content_is_built_once_however_many_ask(watcher, context, key, engine):
    files = context(Dockerfile=f"{FROM}RUN sleep 1; echo built-{key}\n")
    watchers = [watcher("true", build=Build(), context=files) for _ in range(3)]
    for process in watchers:
        assert b"exit_code=0" in process.stdout.readline()
    for process in watchers:
        process.stdin.close()
        process.wait()
    (image,) = [
        i
        for i in engine.images()
        if i["RepoTags"][0].startswith("raysched-build")
        and i["Created"] > 0
        and key in str(engine.history(i["Id"]))
    ]
    assert image


@pytest.mark.parametrize("pull", Pull)
def test_who_waits_for_a_build_is_told_so(attempt, background, context, key, pull):
    files = context(Dockerfile=f"{FROM}RUN sleep 2; echo {key}\n")
    first, second = (attempt("true", build=Build(), context=files, pull=pull) for _ in range(2))
    one = background(first.run)
    seen = []
    until(lambda: seen.extend(first.tail()) or any("Running in" in line.text for line in seen))
    assert second.run().exit_code == 0
    assert one.result().exit_code == 0
    said = [line.text for line in second.tail()]
    assert any("waiting for another attempt" in text for text in said)
    assert not any("Step 1/" in text for text in said)


def test_a_build_that_fails_says_why_and_leaves_nothing(ran, context, key, engine):
    dangling = {i["Id"] for i in engine.images(filters={"dangling": True})}
    files = context(Dockerfile=f"{FROM}RUN echo {key} > /a\nRUN echo broken-tool >&2; exit 7\n")
    ending, lines = ran(build=Build(), context=files)
    assert (ending.error_type, ending.lost, ending.exit_code) == ("BuildFailed", False, None)
    assert "returned a non-zero code: 7" in ending.fault
    assert "broken-tool" in "".join(texts(lines, "build"))
    assert {i["Id"] for i in engine.images(filters={"dangling": True})} == dangling


@pytest.mark.parametrize("text", ["", "NONSENSE x\n", "FROM no-such-image-anywhere:1\n"])
def test_a_dockerfile_that_is_none_is_a_failed_build(ran, context, text):
    ending, _ = ran(build=Build(), context=context(Dockerfile=text))
    assert ending.error_type == "BuildFailed"


def test_a_dockerfile_that_is_not_there_is_a_failed_build(ran, context):
    ending, _ = ran(build=Build(), context=context(other="x"))
    assert ending.error_type == "BuildFailed"
    assert "Dockerfile" in ending.fault


def test_a_build_has_the_limits_of_its_job(ran, context, key):
    groups = "/sys/fs/cgroup"
    files = context(
        Dockerfile=f"{FROM}RUN echo {key}; cd {groups}; cat memory/memory.limit_in_bytes "
        "cpu/cpu.cfs_quota_us memory.max cpu.max 2>/dev/null; true\n"
    )
    _, lines = ran("true", build=Build(), context=files, num_cpus=0.5, memory_bytes=64 << 20)
    said = texts(lines, "build")
    assert str(64 << 20) in said
    assert {"50000", "50000 100000"} & set(said)


def test_an_image_that_no_job_has_used_for_a_day_is_removed_but_for_each_job_s_last(
    attempt, rooms, context, engine, key, background
):
    def used(job, word):
        files = context(Dockerfile=f"{FROM}ENV X={word}-{key}\n")
        one = attempt("true", build=Build(), context=files, job=job)
        ending = one.run()
        one.close(b"over")
        return next(t for t in engine.inspect_image(ending.image.partition(" ")[0])["RepoTags"])

    def present(*tags):
        return [tag for tag in tags if engine.images(tag)]

    def prune(hours=25):
        return pruning.prune(Engine.here(), rooms / IMAGES, time.time() + hours * 3600)

    old, new, other = used("a", "old"), used("a", "new"), used("b", "other")
    assert pruning.due(rooms / IMAGES, time.time() + 3601)
    with pruning.building(rooms / IMAGES):
        assert prune() == []
    assert prune(23) == []
    files = context(Dockerfile=f"{FROM}ENV X=old-{key}\n")
    one = attempt("echo up; sleep 3", build=Build(), context=files, job="c")
    run = background(one.run)
    until(one.tail)
    used("c", "own")
    assert prune() == []  # a container runs it
    run.result()
    one.close(b"over")
    assert prune() == [old]
    assert present(old, new, other) == [new, other]
    assert not pruning.due(rooms / IMAGES, time.time())
    assert used("a", "old") == old  # it is built again
    assert prune() == [new]


def test_the_reaper_removes_old_images(attempt, rooms, context, engine, key, monkeypatch):
    monkeypatch.setenv("RAYSCHED_ORPHAN_GRACE_S", "2")  # it looks twice a second
    tags = []
    for word in ("old", "new"):
        files = context(Dockerfile=f"{FROM}ENV X={word}-{key}\n")
        one = attempt("true", build=Build(), context=files)
        tags.append(reference(one._task))
        assert one.run().exit_code == 0
        one.close(b"over")
    for file in (rooms / IMAGES).glob("*.use"):
        at = file.stat().st_mtime - pruning.UNUSED_S
        os.utime(file, (at, at))
    until((rooms / IMAGES / "pruned").exists)
    os.utime(rooms / IMAGES / "pruned", (0, 0))
    attempt("sleep 1").run()
    until(lambda: [tag for tag in tags if engine.images(tag)] == tags[1:], 20)


def test_a_stop_ends_a_build(attempt, background, context, rooms, key):
    files = context(Dockerfile=f"{FROM}RUN echo {key}; sleep 100\n")
    one = attempt("true", build=Build(), context=files, key=key)
    run = background(one.run)
    seen = []
    until(lambda: seen.extend(one.tail()) or any("Running in" in line.text for line in seen))
    assert stop(rooms, key, "cancelled", "/home")
    ending = run.result(20)
    assert (ending.verdict, ending.exit_code, ending.started_at) == ("cancelled", None, None)


def test_an_image_that_may_not_be_pulled_is_a_clear_fault(ran):
    ending, _ = ran("true", image="no-such-image:1", pull=Pull.NEVER)
    assert (ending.error_type, ending.lost) == ("ImageUnavailable", False)
    assert "pull='never'" in ending.fault


def test_an_image_that_cannot_be_pulled_is_a_clear_fault(ran):
    for policy in (Pull.MISSING, Pull.ALWAYS):
        ending, lines = ran("true", image="localhost:1/none/such:1", pull=policy)
        assert ending.error_type == "ImageUnavailable"
        assert "localhost:1" in ending.fault
        assert "pulling the image" in lines[0].text


def test_an_image_without_a_tag_is_the_latest_one():
    from container_task import make_task

    assert reference(make_task(image="localhost:5000/a/b")) == "localhost:5000/a/b:latest"
    assert reference(make_task(image="a@sha256:" + "0" * 64)) == "a@sha256:" + "0" * 64
