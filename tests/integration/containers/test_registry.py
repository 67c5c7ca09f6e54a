"""A real registry: what is pulled and when, by which digest, with which login."""

import json

import pytest

import docker_registry
from raysched.spec.container import Build, Pull

USER, PASSWORD = "robot", "swordfish-2026"


def words(lines):
    return "\n".join(line.text for line in lines)


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    yield from _registry(engine, tmp_path_factory.mktemp("registry"), None)


@pytest.fixture(scope="module")
def private(engine, tmp_path_factory):
    yield from _registry(engine, tmp_path_factory.mktemp("private"), (USER, PASSWORD))


def _registry(engine, folder, login):
    if reason := docker_registry.obstacle():
        docker_registry.none(reason)
    registry = docker_registry.Registry(folder, login)
    registry.start()
    yield registry
    registry.stop()
    registry.forget(engine)


@pytest.fixture
def image(registry, engine, key):
    """The name of an image that the registry has and this node has not."""
    registry.push(engine, key, "1", labels={"key": key})
    return f"{registry.address}/{key}:1"


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "right").write_text(f"{USER}:{PASSWORD}\n")
    (folder / "json").write_text(json.dumps({"username": USER, "password": PASSWORD}))
    (folder / "wrong").write_text(f"{USER}:not-{PASSWORD}\n")
    monkeypatch.setenv("RAYSCHED_SECRETS_DIR", str(folder))


def test_a_missing_image_is_pulled_once_and_recorded_by_its_digest(ran, registry, engine, key):
    digest = registry.push(engine, key, "1")
    image = f"{registry.address}/{key}:1"
    first, lines = ran("echo hello", image=image)
    assert f"pulling the image {image}" in words(lines)
    assert words(lines).endswith("hello")
    assert first.image == f"{registry.address}/{key}@{digest}"
    again, lines = ran("echo hello", image=image)
    assert words(lines) == "hello"
    assert again.image == first.image


def test_one_image_of_two_names_is_recorded_by_the_one_that_a_job_asks_for(
    ran, registry, engine, key, image
):
    other = f"{registry.address}/{key}-other"
    assert ran("true", image=image)[0].image.startswith(f"{registry.address}/{key}@")
    engine.tag(image, other, "1")
    assert "digest: sha256:" in engine.push(other, "1")
    assert ran("true", image=f"{other}:1")[0].image.startswith(f"{other}@")


def test_a_pull_of_always_runs_what_the_tag_stands_for_now(ran, registry, engine, key):
    image = f"{registry.address}/{key}:1"
    for word in ("old", "new"):
        digest = registry.push(engine, key, "1", environment={"WORD": word})
        ending, lines = ran("echo $WORD", image=image, pull=Pull.ALWAYS)
        assert words(lines).endswith(f"\n{word}")
        assert ending.image.endswith(digest)


def test_a_tag_that_moved_is_not_noticed_by_a_pull_of_missing(ran, registry, engine, key):
    image = f"{registry.address}/{key}:1"
    registry.push(engine, key, "1", environment={"WORD": "old"})
    assert words(ran("echo $WORD", image=image)[1]).endswith("\nold")
    old = engine.inspect_image(image)["Id"]
    engine.tag(old, f"{registry.address}/{key}", "kept")
    registry.push(engine, key, "1", environment={"WORD": "new"})
    engine.tag(old, f"{registry.address}/{key}", "1")
    assert words(ran("echo $WORD", image=image)[1]) == "old"
    assert words(ran("echo $WORD", image=image, pull=Pull.ALWAYS)[1]).endswith("\nnew")


def test_a_pull_of_never_does_not_ask_the_registry(ran, image):
    ending, lines = ran("true", image=image, pull=Pull.NEVER)
    assert ending.error_type == "ImageUnavailable"
    assert lines == []
    assert ran("true", image=image)[0].exit_code == 0
    assert ran("true", image=image, pull=Pull.NEVER)[0].exit_code == 0


def test_many_who_lack_an_image_pull_it_once(attempt, background, image):
    attempts = [attempt("true", image=image) for _ in range(4)]
    runs = [background(one.run) for one in attempts]
    assert [run.result().exit_code for run in runs] == [0, 0, 0, 0]
    said = [words(one.tail()) for one in attempts]
    assert sum("pulling" in text for text in said) == 1


@pytest.mark.parametrize("tag", ["", ":1"])
def test_an_image_is_pulled_by_its_digest_whatever_its_tag_says(ran, registry, engine, key, tag):
    digest = registry.push(engine, key, "1", environment={"WORD": "old"})
    registry.push(engine, key, "1", environment={"WORD": "new"})
    image = f"{registry.address}/{key}{tag}@{digest}"
    for pull in (Pull.MISSING, Pull.NEVER, Pull.ALWAYS):
        ending, lines = ran("echo $WORD", image=image, pull=pull)
        assert words(lines).endswith("old"), ending.fault
        assert ending.image == f"{registry.address}/{key}@{digest}"


def test_a_digest_that_the_registry_has_not_is_a_clear_fault(ran, registry, engine, key):
    registry.push(engine, key, "1")
    ending, _ = ran("true", image=f"{registry.address}/{key}@sha256:{'0' * 64}")
    assert ending.error_type == "ImageUnavailable"
    assert "manifest unknown" in ending.fault


def test_an_image_that_was_removed_from_the_registry_cannot_be_pulled(ran, registry, engine, key):
    digest = registry.push(engine, key, "1")
    registry.delete(key, digest)
    ending, _ = ran("true", image=f"{registry.address}/{key}:1")
    assert ending.error_type == "ImageUnavailable"
    assert "manifest unknown" in ending.fault


def test_without_its_registry_an_image_that_is_here_still_runs(ran, registry, engine, key, image):
    assert ran("true", image=image)[0].exit_code == 0
    other = f"{registry.address}/{key}-other:1"
    registry.push(engine, f"{key}-other", "1")
    registry.stop()
    try:
        assert ran("true", image=image)[0].exit_code == 0
        for name, pull in ((image, Pull.ALWAYS), (other, Pull.MISSING)):
            ending, _ = ran("true", image=name, pull=pull)
            assert (ending.error_type, ending.lost) == ("ImageUnavailable", False)
            assert "connection refused" in ending.fault
    finally:
        registry.start()
    assert ran("true", image=other)[0].exit_code == 0


@pytest.mark.parametrize("secret", ["right", "json"])
def test_the_login_is_a_secret_that_nothing_shows(attempt, private, engine, secrets, key, secret):
    digest = private.push(engine, key, "1")
    one = attempt("env", image=f"{private.address}/{key}:1", registry_auth=secret)
    ending = one.run()
    assert ending.exit_code == 0, ending.fault
    assert ending.image == f"{private.address}/{key}@{digest}"
    shown = [
        words(one.tail()),
        repr(ending),
        json.dumps(engine.inspect_container(one._task.name)),
        *(p.read_text(errors="replace") for p in one._rooms.rglob("*") if p.is_file()),
    ]
    assert not any(PASSWORD in text for text in shown)


@pytest.mark.parametrize("secret", ["wrong", None])
def test_a_wrong_login_and_none_are_refused_by_the_registry(
    ran, private, engine, secrets, key, secret
):
    private.push(engine, key, "1")
    ending, lines = ran("true", image=f"{private.address}/{key}:1", registry_auth=secret)
    assert ending.error_type == "ImageUnavailable"
    assert "registry_auth" in ending.fault
    assert PASSWORD not in ending.fault + words(lines)


def test_a_login_that_is_not_on_the_node_is_named(ran, private, engine, secrets, key):
    private.push(engine, key, "1")
    ending, _ = ran("true", image=f"{private.address}/{key}:1", registry_auth="none")
    assert ending.error_type == "SecretMissing"
    assert "'none'" in ending.fault


def test_a_build_begins_from_an_image_of_a_private_registry(
    ran, private, engine, secrets, context, key, tmp_path
):
    digest = private.push(engine, key, "1")
    login = {"username": USER, "password": PASSWORD, "serveraddress": private.address}
    (tmp_path / "secrets" / "server").write_text(json.dumps(login))
    image = f"{private.address}/{key}:1"
    files = context(Dockerfile=f"FROM {image}\nENV KEY={key}\n")
    ending, _ = ran("true", build=Build(), context=files)
    assert ending.error_type == "BuildFailed"
    ending, lines = ran("echo $KEY", build=Build(), context=files, registry_auth="server")
    assert ending.exit_code == 0, ending.fault
    assert ending.image.endswith(f" on {image}@{digest}")
    assert PASSWORD not in words(lines) + repr(ending)


def test_a_base_by_its_digest_stays_and_is_recorded_once(ran, registry, engine, context, key):
    digest = registry.push(engine, key, "1")
    base = f"{registry.address}/{key}"
    files = context(
        Dockerfile=f"FROM {base}:1@{digest} AS first\nRUN echo {key} > /x\n"
        "FROM scratch\nCOPY --from=first / /\n"
    )
    ending, lines = ran("cat /x", build=Build(), context=files)
    assert words(lines).endswith(key), ending.fault
    assert ending.image.endswith(f" on {base}:1@{digest}")
    assert engine.inspect_image(f"{base}@{digest}")
