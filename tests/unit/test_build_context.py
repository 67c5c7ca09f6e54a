"""A build context as bytes: what travels, what is refused, and that nothing else counts."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile

import pytest

import raysched as rs
from raysched.client.deployments import of_job
from raysched.errors import DeclarationError
from raysched.runners import context
from raysched.runners.context import pack
from raysched.runners.pinned import pin


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "wordcount"
    (made / "src" / "deep").mkdir(parents=True)
    (made / "empty").mkdir()
    (made / "Dockerfile").write_text("FROM scratch\n")
    (made / "src" / "app.py").write_text("print('hello')\n")
    (made / "src" / "deep" / "b.txt").write_text("b")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    (made / "link").symlink_to("src/app.py")
    return made


def members(code):
    with tarfile.open(fileobj=io.BytesIO(code)) as tar:
        return {each.name: each for each in tar}


def packed(folder, **options):
    return pack(folder, job="wordcount", **options)


def test_files_folders_and_links_travel_in_order_without_times_and_owners(folder):
    found = members(packed(folder))
    assert list(found) == [
        *("Dockerfile", "empty", "link", "run.sh", "src", "src/app.py", "src/deep"),
        "src/deep/b.txt",
    ]
    for each in found.values():
        assert (each.mtime, each.uid, each.gid, each.uname, each.gname) == (0, 0, 0, "", "")
    modes = {name: oct(each.mode) for name, each in found.items() if each.isfile()}
    assert modes.pop("run.sh") == "0o755"
    assert set(modes.values()) == {"0o644"}
    assert found["link"].issym()
    assert found["link"].linkname == "src/app.py"
    with tarfile.open(fileobj=io.BytesIO(packed(folder))) as tar:
        assert tar.extractfile("src/app.py").read() == b"print('hello')\n"


def test_two_copies_that_differ_in_times_modes_owners_and_order_are_one(folder, tmp_path):
    before = packed(folder)
    copy = tmp_path / "copy"
    (copy / "src" / "deep").mkdir(parents=True, mode=0o700)
    (copy / "link").symlink_to("src/app.py")
    for name in ("src/deep/b.txt", "run.sh", "src/app.py", "Dockerfile"):
        (copy / name).write_bytes((folder / name).read_bytes())
        (copy / name).chmod(0o600 | (0o100 if name == "run.sh" else 0))
        os.utime(copy / name, (1, 1))
        if os.geteuid() == 0:
            os.chown(copy / name, 1234, 1234)
    (copy / "empty").mkdir()
    assert packed(copy) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "run.sh").chmod(0o644),
        lambda folder: (folder / "src" / "app.py").chmod(0o755),
        lambda folder: (folder / "src" / "app.py").write_text("print('hullo')\n"),
        lambda folder: (folder / "run.sh").rename(folder / "walk.sh"),
        lambda folder: (folder / "empty").rmdir(),
        lambda folder: [(folder / "link").unlink(), (folder / "link").symlink_to("run.sh")],
        lambda folder: (folder / ".hidden").write_text(""),
    ],
)
def test_whatever_the_image_would_see_changes_the_hash(folder, change):
    before = packed(folder)
    change(folder)
    assert packed(folder) != before


def test_what_is_ignored_stays_at_home(folder):
    (folder / ".dockerignore").write_text(
        "# a comment\n\n  empty  \nsrc/**\n!src/app.py\n*.sh\n*.log\n!keep.log\n"
    )
    (folder / "# a comment").write_text("no pattern")
    (folder / "a.log").write_text("a")
    (folder / "keep.log").write_text("keep")
    found = list(members(packed(folder)))
    assert found == [
        "# a comment",
        ".dockerignore",
        "Dockerfile",
        "keep.log",
        "link",
        *("src", "src/app.py"),
    ]
    before = packed(folder)
    (folder / "a.log").write_text("another")
    assert packed(folder) == before


def test_what_the_dockerfile_s_own_file_ignores_counts_in_place_of_the_folder_s(folder):
    (folder / ".dockerignore").write_text("src\n")
    (folder / "docker").mkdir()
    (folder / "docker" / "prod").write_text("FROM scratch\n")
    (folder / "docker" / "prod.dockerignore").write_text("*\n!run.sh\n")
    (folder / "docker" / ".dockerignore").write_text("run.sh\n")  # of no meaning there
    assert "src" not in members(packed(folder))
    found = list(members(packed(folder, dockerfile="docker/prod")))
    assert found == [".dockerignore", "docker/prod", "run.sh"]
    (folder / "Dockerfile.dockerignore").write_text("")
    assert "src/app.py" in members(packed(folder))


def test_the_dockerfile_travels_even_if_it_is_ignored(folder):
    (folder / ".dockerignore").write_text("*\n")
    (folder / "docker").mkdir()
    (folder / "docker" / "prod").write_text("FROM scratch\n")
    assert list(members(packed(folder))) == [".dockerignore", "Dockerfile"]
    assert "docker/prod" in members(packed(folder, dockerfile="docker/prod"))


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"[z-a]\n"])
def test_ignored_names_that_cannot_be_understood_are_refused(folder, bad):
    (folder / ".dockerignore").write_bytes(bad)
    with pytest.raises(DeclarationError, match=r"/\.dockerignore cannot be understood"):
        packed(folder)


def test_names_that_are_not_utf_8_travel(folder):
    (folder / os.fsdecode(b"caf\xe9")).write_text("x")
    (folder / ("n" * 200)).write_text("x")
    assert packed(folder) == packed(folder)
    assert b"caf\xe9" in packed(folder)


# ------------------------------------------------------------------ refused


def test_more_than_64_mib_is_refused_with_the_largest_files(folder):
    with open(folder / "data.bin", "wb") as file:
        file.truncate(context.LARGEST)
    with pytest.raises(DeclarationError, match=r"has 67,1.* bytes") as caught:
        packed(folder)
    assert "'data.bin' (67,108,864)" in caught.value.why
    assert ".dockerignore" in caught.value.fix
    (folder / ".dockerignore").write_text("*.bin\n")
    assert packed(folder)


def test_what_fits_only_without_the_archive_s_own_bytes_is_refused(folder, monkeypatch):
    monkeypatch.setattr(context, "LARGEST", len(packed(folder)) - 1)
    with pytest.raises(DeclarationError, match="is the most"):
        packed(folder)
    monkeypatch.setattr(context, "LARGEST", context.LARGEST + 1)
    assert packed(folder)


@pytest.mark.parametrize(
    "to", ["/etc/passwd", "../secret", "src/../../secret", "..", "/", "up/../../secret"]
)
def test_a_link_that_leads_out_is_refused(folder, to):
    (folder.parent / "secret").write_text("secret")
    (folder / "up").symlink_to(".")
    (folder / "out").symlink_to(to)
    with pytest.raises(DeclarationError, match=r"'out' leads to .*, outside of it"):
        packed(folder)
    (folder / ".dockerignore").write_text("out\n")
    assert packed(folder)


def test_an_absolute_link_is_refused_even_to_a_file_inside(folder):
    # It would make the hash depend on where the folder lies, and lead nowhere in the image.
    (folder / "out").symlink_to(folder / "run.sh")
    with pytest.raises(DeclarationError, match="'out' leads to"):
        packed(folder)


@pytest.mark.parametrize("to", ["src", "src/../run.sh", "nowhere", "loop", "src/deep/.."])
def test_a_link_that_stays_inside_travels_as_a_link(folder, to):
    (folder / "loop").symlink_to(to)
    assert members(packed(folder))["loop"].linkname == to


def test_a_linked_folder_is_not_entered(folder):
    (folder / "again").symlink_to("src")
    assert not [name for name in members(packed(folder)) if name.startswith("again/")]


def test_a_fifo_or_a_socket_is_refused(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    with pytest.raises(DeclarationError, match="'pipe' is neither a file, a folder nor a link"):
        packed(folder)
    (folder / "pipe").unlink()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind("sock")
        with pytest.raises(DeclarationError, match="'sock' is neither"):
            packed(folder)


def test_a_folder_that_is_gone_is_refused(folder):
    job = rs.container("w", build=folder)
    folder.rename(folder.parent / "moved")
    with pytest.raises(DeclarationError, match="build context is refused"):
        pin(job)


# ------------------------------------------------------------------ what a job sends


def test_a_container_sends_its_folder_or_nothing(folder):
    built, ready = rs.container("w", build=folder), rs.container("w", image="a")
    assert pin(built).code == packed(folder)
    assert pin(built).code_hash == hashlib.sha256(packed(folder)).hexdigest()
    assert pin(ready).code == b""
    assert pin(ready).code_hash == hashlib.sha256(b"").hexdigest()


def test_a_deployment_carries_the_definition_and_what_is_pinned(folder):
    job = rs.container("w", build=folder)
    made = of_job(job)
    assert (made.spec, made.code, made.code_hash) == (job.spec, pin(job).code, pin(job).code_hash)
    with pytest.raises(DeclarationError, match="is not a job"):
        of_job("w")
