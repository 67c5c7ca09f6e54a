"""Container jobs through the scheduler, on a real Ray and a real Docker engine."""

import itertools
import os
import random
import signal
import time
from contextlib import closing, suppress
from pathlib import Path

import docker
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import docker_engine
import docker_registry
import raysched as rs
from raysched.errors import NotFound
from support import kill_actor, until

LABEL = "raysched.container"


@pytest.fixture(scope="module")
def engine(client, docker_host):
    if docker_host:
        docker_engine.none(docker_host)
    engine = docker.from_env()
    docker_engine.import_base(engine.api)
    yield engine
    until(lambda: ours(engine) == [])
    engine.close()


def ours(engine, **more):
    return engine.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True, **more)


def a_box(name, script, **options):
    return rs.container(
        name,
        image=docker_engine.BASE,
        command=["sh", "-c", script],
        **{"num_cpus": 0.1, "memory": "64MiB", **options},
    )


def ran(client, box, **params):
    client.deploy(box)
    return client.trigger(box, **params).wait("90s")


def lines(client, run):
    frame = client.logs(run.id)
    return list(zip(frame.stream, frame.line, strict=True))


def workers(client):
    """Return the processes that are running attempts."""
    raylet = psutil.Process(client.status()["pid"]).parent()
    names = {child.pid: " ".join(child.cmdline()) for child in raylet.children()}
    return [pid for pid, name in names.items() if name.startswith("ray::raysched")]


def started(client, box, word="ready"):
    """Return a run of a job that is under way and has printed `word`."""
    client.deploy(box)
    run = client.trigger(box)
    until(lambda: word in client.logs(run.id).line.tolist())
    return run


def test_a_container_gets_its_parameters_and_leaves_output_and_outcome(client, engine):
    script = 'echo "$RAYSCHED_RUN_ID $RAYSCHED_ATTEMPT"; echo "$RAYSCHED_PARAMS" >&2'
    run = ran(client, a_box("hello", script, params={"a": 1}, env={"X": "y"}), b="c d")
    assert run.status == "succeeded"
    assert sorted(lines(client, run)) == [
        ("stderr", '{"a": 1, "b": "c d"}'),
        ("stdout", f"{run.id} 1"),
    ]
    row = client.runs(job="hello").set_index("run_id").loc[run.id]
    assert row.exit_code == 0
    assert row.image.startswith("sha256:")
    assert not row.oom_killed


def test_an_exit_code_is_the_outcome_and_the_retry_policy_speaks(client, engine):
    run = ran(client, a_box("fails", "exit $((2 + RAYSCHED_ATTEMPT))", retries=1))
    assert (run.status, run.explain()) == (
        "failed",
        "exit code 4; before: attempt 1 failed: exit code 3",
    )
    attempts = client.attempts(run.id)
    assert attempts.exit_code.tolist() == [3, 4]


def test_a_memory_hog_is_reported_as_out_of_memory(client, engine):
    run = ran(client, a_box("hog", "head -c 300m /dev/zero | tail", memory="32MiB"))
    assert run.status == "failed"
    assert run.explain() == "out of memory (memory=32MiB); exit code 137"
    assert run.details()["oom_killed"]


def test_a_child_without_memory_is_reported_even_where_the_job_went_on(client, engine):
    # The kernel may take the shell as well, unless it is told whom to take first.
    hog = "echo 1000 > /proc/self/oom_score_adj; head -c 300m /dev/zero | tail"
    script = f"({hog}); echo survived; exit 0"
    run = ran(client, a_box("parent", script, memory="32MiB"))
    assert run.status == "succeeded"
    assert run.details()["oom_killed"]
    assert "lack of memory" in run.explain()


def test_a_timeout_ends_a_container_that_ignores_sigterm(client, engine):
    script = "trap '' TERM; echo ready; sleep 600 & wait; sleep 600"
    run = ran(client, a_box("deaf", script, timeout="1s", grace="1s"))
    assert (run.status, run.explain()) == ("timed_out", "ran longer than timeout=1s")


def test_a_cancelled_container_is_cancelled_and_gone(client, engine):
    run = started(client, a_box("long", "echo ready; sleep 600"))
    run.cancel()
    assert run.wait("60s").status == "cancelled"
    until(lambda: ours(engine) == [])


def test_a_parquet_file_left_in_the_out_folder_is_the_result(client, engine, tmp_path):
    folder = tmp_path / "image"
    folder.mkdir()
    pq.write_table(pa.table({"n": [1, 2, 3]}), folder / "answer.parquet")
    (folder / "Dockerfile").write_text(
        f"FROM {docker_engine.BASE}\nLABEL made={time.time_ns()}\n"  # each time another image
        "COPY answer.parquet /answer.parquet\n"
        'CMD ["cp", "/answer.parquet", "/raysched/out/"]\n'
    )
    box = rs.container("table", build=str(folder), num_cpus=0.1, memory="64MiB")
    run = ran(client, box)
    assert run.status == "succeeded", run.explain()
    assert run.result().n.tolist() == [1, 2, 3]
    assert run.details()["result_rows"] == 3
    assert "build" in set(client.logs(run.id).stream)
    base = engine.images.get(docker_engine.BASE).id
    assert run.details()["image"].endswith(f" on {docker_engine.BASE}@{base}")
    again = client.trigger(box).wait("60s")
    assert again.details()["image"] == run.details()["image"]


def test_a_file_that_is_no_parquet_fails_the_run(client, engine):
    run = ran(client, a_box("liar", "echo nonsense > /raysched/out/x.parquet"))
    assert run.status == "failed"
    assert "'x.parquet' is no Parquet file" in run.explain()


def test_an_image_of_a_private_registry_is_in_the_history_by_digest_and_its_login_nowhere(
    client, engine, tmp_path
):
    if reason := docker_registry.obstacle():
        docker_registry.none(reason)
    secret = Path(os.environ["RAYSCHED_SECRETS_DIR"], "registry")
    secret.write_text("robot:swordfish-2026")
    registry = docker_registry.Registry(tmp_path, ("robot", "swordfish-2026"))
    registry.start()
    try:
        digest = registry.push(engine.api, "tool", "1")
        image = f"{registry.address}/tool:1"
        box = rs.container("tool", image=image, registry_auth="registry", num_cpus=0.1)
        run = ran(client, box)
        assert run.status == "succeeded", run.explain()
        row = client.runs(job="tool").set_index("run_id").loc[run.id]
        assert row.image == f"{registry.address}/tool@{digest}"
        said = [row.to_json(), str(lines(client, run)), str(client.attempts(run.id).to_dict())]
        kept = [path.read_bytes() for path in client.home.rglob("*") if path.is_file()]
        assert not any("swordfish" in text for text in said)
        assert not any(b"swordfish" in data for data in kept)
        secret.write_text("robot:no-swordfish")
        registry.forget(engine.api)
        run = client.trigger("tool").wait("60s")
        assert run.status == "failed"
        assert "cannot be pulled" in run.explain()
    finally:
        registry.stop()
        registry.forget(engine.api)


def test_an_image_that_is_nowhere_fails_the_run_with_the_reason(client, engine):
    box = rs.container("ghost", image="raysched/nowhere:1", pull="never", num_cpus=0.1)
    run = ran(client, box)
    assert run.status == "failed"
    assert "raysched/nowhere:1" in run.explain()


def test_a_container_outlives_its_worker_and_is_adopted(client, engine):
    script = "echo ready; for n in 1 2 3 4 5 6; do sleep 1; echo $n; done"
    run = started(client, a_box("hardy", script))
    (container,) = ours(engine)
    (worker,) = workers(client)
    os.kill(worker, signal.SIGKILL)
    assert run.wait("60s").status == "succeeded", run.explain()
    assert [line for _, line in lines(client, run)] == ["ready", *"123456"]
    assert client.attempts(run.id).attempt.tolist() == [1]
    assert container.id not in [each.id for each in ours(engine)]


def happened(engine, since, label):
    """What happened to the containers of a job, in its order: (action, container)."""
    filters = {"type": "container", "label": f"raysched.job={label}"}
    events = engine.events(since=since, until=time.time(), filters=filters, decode=True)
    return [(event["Action"], event["id"]) for event in events]


def test_a_container_leaves_its_processors_to_the_next_with_its_last_process(client, engine):
    box = a_box("serial", "true", num_cpus=4, overlap="allow")
    client.deploy(box)
    since = time.time()
    runs = client.trigger_many(box, [{}] * 8)
    assert {run.wait("90s").status for run in runs} == {"succeeded"}
    events = happened(engine, since, "serial")
    order = [each for action, each in events if action == "die"]
    assert len(order) == 8
    early = 0
    for one, next_ in itertools.pairwise(order):
        assert events.index(("die", one)) < events.index(("start", next_))  # one lease
        early += events.index(("create", next_)) < events.index(("destroy", one))
    assert early > 0


def test_an_attempt_whose_worker_dies_after_its_task_is_ended_by_another(client, engine):
    box = a_box("orphan", "sleep 1; echo over; exit 3", num_cpus=4, overlap="allow")
    client.deploy(box)
    filters = {"event": "create", "label": "raysched.job=orphan"}
    with closing(engine.events(filters=filters, decode=True)) as created:
        one, next_ = client.trigger_many(box, [{}] * 2)
        next(created)
        (worker,) = workers(client)
        next(created)  # the first one's task is over, and its attempt not yet
        os.kill(worker, signal.SIGKILL)
    for run in (one, next_):
        assert run.wait("60s").status == "failed"
        assert run.explain() == "exit code 3"
        assert client.attempts(run.id).attempt.tolist() == [1]
        assert [line for _, line in lines(client, run)] == ["over"]


@pytest.mark.parametrize(
    "placed", [{"placement": "spread"}, {"label_selector": {"ray.io/node-id": "!none"}}]
)
def test_a_container_is_adopted_though_others_have_taken_its_processors(
    client, engine, tmp_path, placed
):
    @rs.job(num_cpus=4)
    def usurper(until: str):
        end = time.monotonic() + 60
        while not Path(until).exists():
            assert time.monotonic() < end
            time.sleep(0.05)

    over = tmp_path / "over"
    box = a_box("usurped", "echo ready; sleep 3; exit 6", num_cpus=1, **placed)
    run = started(client, box)
    (worker,) = workers(client)
    client.deploy(usurper)
    other = client.trigger("usurper", until=str(over))
    os.kill(worker, signal.SIGKILL)
    until(lambda: client.runs(job="usurper", status="running").run_id.tolist() == [other.id])
    assert run.wait("30s").status == "failed"
    assert run.explain() == "exit code 6"
    assert client.attempts(run.id).attempt.tolist() == [1]
    over.touch()
    assert other.wait("30s").status == "succeeded"


@pytest.mark.parametrize("actor", ["Launcher", "Scheduler"])
def test_a_container_outlives_the_actors_and_is_adopted(client, engine, actor):
    script = "echo ready; for n in 1 2 3 4 5 6; do sleep 1; echo $n; done"
    run = started(client, a_box(f"hardy-{actor.lower()}", script))
    (container,) = ours(engine)
    kill_actor(client, actor)
    assert run.wait("60s").status == "succeeded", run.explain()
    assert [line for _, line in lines(client, run)] == ["ready", *"123456"]
    assert client.attempts(run.id).attempt.tolist() == [1]
    assert container.id not in [each.id for each in ours(engine)]


def test_after_a_hundred_runs_with_cancels_and_kills_nothing_is_left(client, engine):
    box = a_box("swarm", "echo $RAYSCHED_PARAMS; sleep 0.2", overlap="allow", retries=2)
    client.deploy(box)
    runs = client.trigger_many(box, [{"n": n} for n in range(100)])
    dice = random.Random(2026)
    for n in range(12):
        running = client.runs(job="swarm", status="running")
        if len(running) and n % 2:
            with suppress(NotFound):  # it may have ended since
                client.cancel(dice.choice(running.run_id.tolist()))
        elif len(running) and (busy := workers(client)):  # they may have ended since
            os.kill(dice.choice(busy), signal.SIGKILL)
        time.sleep(dice.uniform(0.2, 0.6))
    for run in runs:
        assert run.wait("120s").status in ("succeeded", "cancelled"), run.explain()
    until(lambda: ours(engine) == [])
    assert engine.images.list(filters={"dangling": True, "label": "raysched.build"}) == []
