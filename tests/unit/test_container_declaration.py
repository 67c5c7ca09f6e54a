"""A container job: refused at its declaration or not at all; a value that comes back from JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raysched as rs
from hostile import STRANGE
from raysched.errors import (
    Conflict,
    DeclarationError,
    InputError,
    InvalidName,
    InvalidParameter,
    InvalidPolicy,
    InvalidResource,
    InvalidUnit,
)
from raysched.spec.container import Build, Container, Mount, Pull
from raysched.spec.container_job import ContainerOptions
from raysched.spec.definition import spec_from_json
from raysched.spec.image import image_reference
from raysched.spec.job import job
from raysched.spec.sandbox import CAPABILITIES

IMAGE = "acme/wordcount:1"
OPTIONS = [each.name for each in fields(ContainerOptions)]


def declare(**options):
    return rs.container("wordcount", **{"image": IMAGE, **options})


@pytest.fixture
def folder(tmp_path):
    """A build context."""
    made = tmp_path / "wordcount"
    made.mkdir()
    (made / "Dockerfile").write_text("FROM scratch\n")
    return made


# ------------------------------------------------------------------ a declared job


def test_a_container_with_an_image_alone_has_the_defaults():
    declared = declare()
    assert declared.name == "wordcount"
    assert declared.spec.container == Container(image=IMAGE)
    assert declared.context is None
    assert repr(declared) == "<ContainerJob wordcount: no schedule>"


def test_a_container_has_the_options_of_every_job():
    declared = declare(
        schedule="@daily",
        num_cpus=2,
        memory="512MiB",
        retries=rs.Retry(2, "1s"),
        tags=["etl"],
        params={"any": ["thing"]},
        env={"A": "1"},
        description="Count words.",
    )
    native = job(
        name="wordcount",
        schedule="@daily",
        num_cpus=2,
        memory="512MiB",
        retries=rs.Retry(2, "1s"),
        tags=["etl"],
        params={"any": ["thing"]},
        env={"A": "1"},
    )(lambda **any_params: None).spec
    mine, theirs = declared.spec.to_json(), native.to_json()
    assert mine.pop("container")
    assert mine == {**theirs, "description": "Count words."}


def test_calling_a_container_runs_nothing_and_says_what_to_do():
    with pytest.raises(Conflict, match="is a container") as caught:
        declare()(region="US")
    assert 'client.trigger("wordcount")' in caught.value.fix


def test_a_container_is_not_declared_as_a_function():
    with pytest.raises(DeclarationError, match="is a job already"):
        job(declare())


def test_options_give_a_changed_copy():
    first = declare(num_cpus=2, tags=["etl"])
    second = first.options(num_cpus=4, command=["ls"], name="other")
    assert (first.spec.resources.num_cpus, second.spec.resources.num_cpus) == (2, 4)
    assert second.spec.tags == ("etl",)
    assert second.spec.container.command == ("ls",)
    assert (first.name, second.name) == ("wordcount", "other")
    assert second.origin == first.origin
    with pytest.raises(DeclarationError):
        first.options(network="host")


def test_a_container_takes_any_parameter_that_json_has():
    signature = declare(schedule="@daily").spec.signature
    signature.check("wordcount", {"anything": [1, None]}, whole=True)
    with pytest.raises(InvalidParameter):
        signature.check("wordcount", {"anything": {1, 2}}, whole=True)


def test_a_mount_is_the_same_in_each_of_its_forms():
    forms = (
        ["/data/in:/in:rw"],
        [{"source": "/data//in/", "target": "/./in", "read_only": False}],
        (Mount(source="/data/in", target="/in", read_only=False),),
    )
    assert {declare(mounts=form).spec.container.mounts for form in forms} == {
        (Mount(source="/data/in", target="/in", read_only=False),)
    }
    assert declare(mounts=["/a:/a", "/b:/b:ro"]).spec.container.mounts == (
        Mount(source="/a", target="/a", read_only=True),
        Mount(source="/b", target="/b", read_only=True),
    )


def test_capabilities_are_one_set_however_they_are_written():
    first = declare(cap_add=["NET_RAW", "CHOWN"]).spec
    second = declare(cap_add=("CAP_CHOWN", "CAP_NET_RAW", "CHOWN")).spec
    assert first == second
    assert first.container.cap_add == ("CHOWN", "NET_RAW")
    assert declare(cap_add=list(CAPABILITIES)).spec.container.cap_add == CAPABILITIES


# ------------------------------------------------------------------ refused options


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("bad", STRANGE, ids=lambda bad: type(bad).__name__)
def test_no_option_takes_a_strange_object(option, bad):
    with pytest.raises(InputError) as caught:
        declare().options(**{option: bad})
    assert caught.value.what
    assert caught.value.why


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "description"])
@pytest.mark.parametrize(
    "bad", ["a\0b", "a\u202eb", "\ud800", "x" * 10_000, "a b\n", "", True, -1, [[]], [True], {1: 2}]
)
def test_no_option_takes_hostile_text_or_the_wrong_type(option, bad):
    if option == "read_only" and bad is True:
        return
    if option == "priority" and bad == -1:
        return
    with pytest.raises(InputError) as caught:
        declare().options(**{option: bad})
    assert str(caught.value).replace("\n", "").isprintable()
    assert len(str(caught.value)) < 2_000


LONG = "x" * 10_000
REFUSED = [
    ("image", "text that is not empty", ["", 5, True, b"a"]),
    ("image", "column 1: 'Acme'", ["Acme/wordcount", "Acme"]),
    ("image", "column 11: 'Word'", ["ghcr.io/a/Word"]),
    ("image", "lower case", ["ACME:1", "a/B:1", "localhost/A"]),
    ("image", "is an option and no image", ["-v /:/h", "--privileged", "-", "a/-b"]),
    ("image", "column 8: 'sha256:12'", ["acme:1@sha256:12"]),
    (
        "image",
        "a digest is",
        [
            "a@",
            "a@sha256:" + "g" * 64,
            "a@sha256:" + "A" * 64,
            "a@sha512:" + "a" * 128,
            "a@md5:" + "a" * 32,
            "a@sha256:" + "a" * 64 + "@",
            "a@sha256:" + "a" * 65,
        ],
    ),
    ("image", "column 3: '-t'", ["a:-t"]),
    ("image", "a tag is", ["a:", "a:b:c", "a:" + "t" * 129, "a:t t", "a:\u0661", "a:1\n"]),
    ("image", "part of the name is empty", ["/a", "a//b", "a/", "@sha256:" + "a" * 64, ":1"]),
    ("image", "a registry is", [":5000/a", "a_b.c/d", "host:port/a", "-a.b/c", "a..b/c"]),
    (
        "image",
        "each part",
        ["a b", "a__.b", "a___b", "a.", "_a", "a\0", "a\u202e", "\u00e9", "a;b"],
    ),
    ("image", "means nothing on the other nodes", ["a" * 64, "sha256:" + "0" * 64]),
    ("image", "characters", [LONG, "a" * 256]),
    ("command", "no shell splits it", ["python app.py", "ls", "", "\ud800"]),
    ("command", "one at least", [[], (), {"a"}, 5, iter(["a"])]),
    ("command", "the first is not empty", [[""], ["", "a"], ["a", 5], ["a\0"], ["\ud800"], [None]]),
    ("env", "Linux takes 2 MiB", [{f"A{n}": "x" * 100_000 for n in range(11)}]),
    ("command", "Linux takes no longer", [["x" * 131_072], ["x" * 1000] * 132]),
    ("entrypoint", "no shell splits it", ["sh -c 'x'"]),
    ("entrypoint", "one at least", [[]]),
    ("mounts", "not a list", ["/a:/b", {"/a": "/b"}, None, 5]),
    ("mounts", "a mount is", [[""], ["/a"], ["/a:/b:/c"], ["/a:/b:z"], ["/a:/b:ro:ro"], [5]]),
    ("mounts", "begins with '/'", [["a:/b"], ["vol:/b"], ["/a:b"], ["/a/../b:/c"], ["/a:/b/.."]]),
    ("mounts", "is printable", [["/a\0:/b"], ["/a\n:/b"], ["/a\u202e:/b"], ["/\ud800:/b"]]),
    (
        "mounts",
        "begins with '/'",
        [[f"/{LONG}:/b"], ["/" + "\u00e9" * 3000 + ":/b"], [":/b"], ["/a:"]],
    ),
    ("mounts", "nor ':'|neither", [[{"source": "/a:b", "target": "/c"}], [{"source": "/a"}]]),
    ("mounts", "no field 'sorce'", [[{"sorce": "/a", "target": "/b"}]]),
    ("mounts", "neither True nor False", [[{"source": "/a", "target": "/b", "read_only": 1}]]),
    (
        "mounts",
        "the node's own",
        [
            [f"{path}:/x"]
            for path in (
                *("/", "//", "/.", "/proc", "/proc/1/root", "/sys/fs/cgroup", "/dev", "/dev/sda"),
                *("/run", "/run/user/0", "/var/run", "/var/run/x", "/etc", "/etc/shadow", "/etc/."),
                *("/boot", "/root", "/root/.ssh", "/var/lib/docker", "/var/lib/docker/volumes/v"),
                *("/var", "/var/lib", "/var/lib/containerd", "//etc", "///etc//passwd", "/etc/"),
            )
        ],
    ),
    ("mounts", "engine's socket", [["/data/docker.sock:/x"], ["/x/containerd.sock:/x"]]),
    ("mounts", "engine's socket", [[Mount(source="/docker.sock/x", target="/x")]]),
    (
        "mounts",
        "raysched's own|would hide",
        [
            [f"/a:{path}"]
            for path in (
                *("/", "//", "/proc", "/proc/sys", "/sys", "/dev", "/dev/shm", "/raysched"),
                *("/raysched/out", "/run", "/run/secrets", "/run/secrets/x", "//proc", "/dev/."),
            )
        ],
    ),
    ("mounts", "hide the other", [["/a:/x", "/b:/x"], ["/a:/x", "/b:/x/"]]),
    ("network", "Ray's ports", ["host"]),
    ("network", "another container", ["container:abc", "container:"]),
    ("network", "depends on the node", ["default"]),
    ("network", "Swarm", ["ingress"]),
    ("network", "a network has a name", ["", "-a", "a b", "a/b", "a\0", LONG, None, 5, "ns:/x"]),
    ("user", "a user is", ["", "0:", ":0", "a:b:c", "-1", "A", "01", "2147483648", "a b", 0, True]),
    ("user", "a user is", ["4294967296", "1000:99999999999", "root\n", "\u0661", "a\0"]),
    ("workdir", "begins with '/'", ["", "app", "/a/../b", "/a:b", "/a\0", "/\u202e", 5]),
    ("pull", "the choices are", ["", "Always", "if-missing", None, True]),
    (
        "cap_add",
        "leads out of the container",
        [
            [name]
            for name in (
                *("ALL", "SYS_ADMIN", "CAP_SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_PTRACE"),
                *("SYS_BOOT", "DAC_READ_SEARCH", "NET_ADMIN", "BPF", "PERFMON", "MAC_ADMIN"),
                *("MAC_OVERRIDE", "SYSLOG", "MKNOD", "SYS_TIME", "CAP_CAP_CHOWN", "", "chown", 5),
            )
        ],
    ),
    ("cap_add", "not a list", ["NET_RAW", None, {"NET_RAW"}]),
    ("read_only", "either True or False", [1, "yes", None]),
    ("pids_limit", "whole number from 1", [0, -1, 1_000_001, True, 1.5, "10", None]),
    ("shm_size", "at least a page", [0, 4095, "1kB"]),
    ("shm_size", "the unit is spelled out", ["64M", True]),
    ("secrets", "by its name", [["a/b"], [""], ["-a"], [".a"], ["a" * 101], ["a=b"], [5], [None]]),
    ("secrets", "twice|file of its name", [["a", "b", "a"]]),
    ("secrets", "not a list", ["token", None]),
    ("registry_auth", "by its name", ["user:password", "", 5, ["a"], True]),
    ("grace", "from 1 s to 10 min", ["0s", "999ms", "11m", timedelta(0)]),
    ("grace", "spells its unit out", ["10", 10, None, True]),
    ("build_args", "for building an image", [{"A": "1"}]),
    ("dockerfile", "for building an image", ["Dockerfile.prod", None]),
    ("target", "for building an image", ["runtime"]),
    ("env", r"not RAYSCHED_\* or RAY_\*", [{"RAYSCHED_RUN_ID": "x"}, {"RAY_ADDRESS": "x"}]),
    (
        "env",
        r"not LD_\* or DOCKER_\*",
        [
            *({"LD_PRELOAD": "x"}, {"LD_LIBRARY_PATH": "x"}, {"LD_AUDIT": ""}),
            *({"DOCKER_HOST": "x"}, {"NVIDIA_VISIBLE_DEVICES": "all"}),
        ],
    ),
    ("env", "strings to strings", [{"A": 1}, {1: "A"}]),
    ("num_cpus", "Docker's least", [0, 0.005, 0.0099]),
    ("memory", "Docker's least is 6 MiB", [0, 1, "5MiB", 6 * 1024 * 1024 - 1]),
    ("description", "without NUL", ["a\0", "x" * 1001, "\ud800", 5, None]),
    ("build", "both image and build", ["jobs"]),
]


@pytest.mark.parametrize(
    ("option", "reason", "bad"),
    [(option, reason, bad) for option, reason, each in REFUSED for bad in each],
    ids=lambda value: value if type(value) is str and len(value) < 20 and value.isalnum() else "",
)
def test_an_option_that_cannot_be_meant_is_refused_with_its_name_and_reason(option, reason, bad):
    with pytest.raises(DeclarationError, match=reason) as caught:
        declare(**{option: bad})
    assert option in str(caught.value)
    assert caught.value.why
    assert caught.value.fix
    assert str(caught.value).replace("\n", "").isprintable()


def test_each_family_of_options_has_its_error():
    for error, options in (
        (InvalidPolicy, {"pull": "x"}),
        (InvalidPolicy, {"pids_limit": 0}),
        (InvalidUnit, {"grace": "1h"}),
        (InvalidUnit, {"shm_size": "1"}),
        (InvalidResource, {"num_cpus": 0}),
        (InvalidResource, {"memory": "1MiB"}),
        (InvalidName, {"tags": ["a b"]}),
    ):
        with pytest.raises(error):
            declare(**options)


@pytest.mark.parametrize("options", [{}, {"image": None, "build": None}])
def test_an_image_or_a_folder_is_needed(options):
    with pytest.raises(DeclarationError, match="neither image nor build"):
        rs.container("wordcount", **options)


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [("comand", "command"), ("shedule", "schedule"), ("cap_ad", "cap_add"), ("images", "image")],
)
def test_an_unknown_option_is_told_the_one_that_was_meant(mistyped, meant):
    with pytest.raises(
        DeclarationError, match=f"rs.container has no option '{mistyped}'"
    ) as caught:
        declare(**{mistyped: 1})
    assert f"'{meant}'" in caught.value.fix


@pytest.mark.parametrize("name", ["privileged", "devices", "runtime_env", "pid_mode", "volumes"])
def test_there_is_no_option_that_would_hand_over_the_node(name):
    with pytest.raises(DeclarationError, match=f"no option '{name}'"):
        declare(**{name: True})


ALLOWED = [
    ("command", [["sh", "-c", "echo $(id); rm -rf /"], ("a", ""), ["x" * 130_000], ["\u00e9"]]),
    ("network", ["bridge", "none", "etl-net", "a.b_c", "Host"]),
    ("user", ["0", "1000", "1000:1000", "app", "app:app", "root", "nobody:65534", "2147483647"]),
    ("workdir", ["/", "/app", "/app//x/"]),
    ("pids_limit", [1, 1_000_000]),
    ("grace", ["1s", "10m", timedelta(seconds=5)]),
    ("shm_size", ["1GiB", 4096]),
    ("secrets", [["a", "A.b-c_d"], ()]),
    ("env", [{"LANG": "C", "LDAP": "x", "PATH": "/bin", "DOCKERFILE": "x", "RAYS": "x"}]),
    ("num_cpus", [0.01, 1, 64]),
    ("memory", ["6MiB", None]),
    ("mounts", [["/data:/data"], ["/etcetera:/x"], ["/home/a:/processed"], ["/a:/x", "/a:/x/y"]]),
    ("mounts", [["/varnish:/running"], ["/mnt/docker.sock.d:/x"], ["/a b:/c d"]]),
]


@pytest.mark.parametrize(
    ("option", "good"), [(option, good) for option, each in ALLOWED for good in each]
)
def test_what_is_harmless_is_allowed(option, good):
    assert declare(**{option: good}).spec.container


IMAGES = [
    *("a", "a:1", "acme/wordcount", "acme/wordcount:1", "ghcr.io/acme/w:1", "localhost/a"),
    *("localhost:5000/a/b-c.d_e__f---g:T.a-g_1", "10.0.0.1:5000/a", "[::1]:5000/a", "a/b/c/d"),
    *("host:5000", "REGISTRY.example/a", "a@sha256:" + "0" * 64, "h.io/a:1@sha256:" + "f" * 64),
    *("a:" + "t" * 128, "a" * 255, "a" * 63),
]


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image[:20])
def test_an_image_by_the_grammar_is_taken_as_it_is(image):
    assert image_reference(image) == image


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aZ0._-/:@[] \0\u202e\ud800")) | st.text(max_size=30))
def test_no_text_is_taken_for_an_image_that_could_be_an_option_or_a_second_word(text):
    try:
        taken = image_reference(text)
    except DeclarationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9\[][A-Za-z0-9._/:@\[\]-]*", taken)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["", ".", "..", "etc", "data", "var", "run", "x", "docker.sock"]))
    .map(lambda parts: "/" + "/".join(parts))
)  # fmt: skip
def test_no_spelling_of_a_path_leads_to_what_is_never_mounted(path):
    try:
        (mount,) = declare(mounts=[f"{path}:/x"]).spec.container.mounts
    except DeclarationError:
        return
    real = os.path.normpath(mount.source)
    assert mount.source == real
    assert ".." not in path.split("/")
    assert not re.match(r"/(etc|run|var/run)(/|$)|/(var)?$", real)
    assert "docker.sock" not in real


# ------------------------------------------------------------------ the folder of an image


def test_a_folder_is_found_from_the_working_directory_first(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    declared = rs.container("wordcount", build="wordcount", target="run", build_args={"A": "1"})
    assert declared.context == folder
    assert declared.spec.container.build == Build(args={"A": "1"}, target="run")
    assert declared.spec.container.image is None
    monkeypatch.chdir("/")
    assert declared.options(num_cpus=2).context == folder


def _declared_in(file, text):
    names = {"__file__": str(file), "__name__": "declaring"}
    exec(compile(f"import raysched as rs\n{text}", str(file), "exec"), names)
    return names["declared"]


def test_a_folder_is_found_beside_the_file_that_declares_it(folder, monkeypatch, tmp_path):
    monkeypatch.chdir("/")
    declared = _declared_in(tmp_path / "a.py", "declared = rs.container('w', build='wordcount')")
    assert declared.context == folder
    assert declared.origin.line == 2
    assert declared.origin.module == "declaring"


def test_a_folder_that_does_not_exist_is_told_with_both_places(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(DeclarationError, match="is not a folder") as caught:
        _declared_in(tmp_path / "a.py", "rs.container('w', build='nope')")
    assert f"{here}/nope" in caught.value.why
    assert f"{tmp_path}/nope" in caught.value.why


@pytest.mark.parametrize("bad", ["", "a\0b", LONG, "\ud800", "a\u202e", 5, ["a"], True, b"a"])
def test_what_is_no_folder_is_refused(bad):
    with pytest.raises(DeclarationError, match="is not a folder") as caught:
        rs.container("wordcount", build=bad)
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_folder_without_its_dockerfile_is_refused(folder):
    rs.container("w", build=folder)
    with pytest.raises(DeclarationError, match="'Other' does not exist"):
        rs.container("w", build=folder, dockerfile="Other")
    (folder / "Dockerfile").unlink()
    with pytest.raises(DeclarationError, match="'Dockerfile' does not exist") as caught:
        rs.container("w", build=folder)
    assert str(folder) in caught.value.why


@pytest.mark.parametrize("bad", ["../Dockerfile", "/etc/passwd", "a/../../x", ".", "/"])
def test_a_dockerfile_outside_of_its_folder_is_refused(folder, bad):
    with pytest.raises(DeclarationError, match="lies outside of the build context"):
        rs.container("w", build=folder, dockerfile=bad)


def test_a_dockerfile_that_is_a_link_out_of_its_folder_is_refused(folder):
    (folder / "Linked").symlink_to("/etc/passwd")
    with pytest.raises(DeclarationError, match="lies outside of the build context"):
        rs.container("w", build=folder, dockerfile="Linked")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dockerfile": ""}, "a path within"),
        ({"dockerfile": "a\0"}, "a path within"),
        ({"dockerfile": 5}, "a path within"),
        ({"target": "-x"}, "a stage has a name"),
        ({"target": ""}, "a stage has a name"),
        ({"target": 1}, "a stage has a name"),
        ({"build_args": {"A B": "1"}}, "a variable's name"),
        ({"build_args": {"A": "x" * 70_000, "B": "x" * 70_000}}, "131,072 is the most"),
        ({"build_args": {"A": "\0"}}, "its value has no NUL"),
        ({"build_args": {"A": 1}}, "strings to strings"),
        ({"build_args": ["A=1"]}, "gives values names"),
    ],
)
def test_what_no_build_takes_is_refused(folder, options, reason):
    with pytest.raises(DeclarationError, match=reason):
        rs.container("w", build=folder, **options)


# ------------------------------------------------------------------ JSON and versions

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,20}", fullmatch=True)
ARGV = st.none() | st.lists(TEXT, max_size=3).map(lambda rest: ["x", *rest])
DECLARED = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.sampled_from(IMAGES),
        "command": ARGV,
        "entrypoint": ARGV,
        "mounts": st.lists(NAMES, max_size=3, unique=True).map(
            lambda names: [
                f"/data/{name}:/m/{name}:{'rw' if 'a' in name else 'ro'}" for name in names
            ]
        ),
        "network": st.sampled_from(["bridge", "none", "net"]),
        "user": st.sampled_from([None, "1000", "app:app"]),
        "workdir": st.sampled_from([None, "/app"]),
        "pull": st.sampled_from(Pull) | st.sampled_from(Pull).map(str),
        "cap_add": st.lists(st.sampled_from(CAPABILITIES), max_size=3),
        "read_only": st.booleans(),
        "pids_limit": st.integers(1, 1_000_000),
        "shm_size": st.none() | st.integers(4096, 2**40),
        "secrets": st.lists(NAMES, max_size=3, unique=True),
        "registry_auth": st.none() | NAMES,
        "grace": st.timedeltas(timedelta(seconds=1), timedelta(minutes=10)),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), TEXT),
        "params": st.dictionaries(TEXT, TEXT, max_size=3),
        "description": TEXT,
        "schedule": st.sampled_from([None, "@daily", "H H * * *"]),
    },
)


@settings(max_examples=200, deadline=None)
@given(DECLARED)
def test_a_definition_comes_back_from_json_as_itself(declared):
    spec = rs.container(**{"image": IMAGE, **declared}).spec
    back = spec_from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert back.version("code") == spec.version("code")
    assert {type(value) for value in vars_of(back)} == {type(value) for value in vars_of(spec)}


def vars_of(spec):
    return [getattr(spec.container, each.name) for each in fields(Container)]


def test_a_build_comes_back_from_json_as_itself(folder):
    spec = rs.container("w", build=folder, build_args={"A": "1"}, target="t").spec
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_native_job_has_no_container_in_its_json_nor_in_its_version():
    def daily(region="EU"):
        """Report."""

    spec = job(daily).spec
    assert "container" not in spec.to_json()
    assert spec_from_json(spec.to_json()).container is None
    # What it was before there were containers: a deployed job must not become another version.
    assert spec.version("code") == "6e02e6f2b5af"


CHANGED = {
    "command": ["ls"],
    "entrypoint": ["sh"],
    "mounts": ["/a:/b"],
    "network": "none",
    "user": "1000",
    "workdir": "/app",
    "pull": "always",
    "cap_add": ["CHOWN"],
    "read_only": True,
    "pids_limit": 7,
    "shm_size": "1MiB",
    "secrets": ["token"],
    "registry_auth": "token",
    "grace": "1s",
    "image": "other",
    "description": "Other.",
    "env": {"A": "1"},
}


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_of_a_container_changes_the_version(option):
    before, after = declare().spec, declare(**{option: CHANGED[option]}).spec
    assert before != after
    assert before.version("code") != after.version("code")


def test_every_option_of_a_build_changes_the_version(folder):
    (folder / "Other").write_text("FROM scratch\n")
    specs = [
        rs.container("w", build=folder, **options).spec
        for options in ({}, {"dockerfile": "Other"}, {"target": "t"}, {"build_args": {"A": "1"}})
    ]
    assert len({spec.version("code") for spec in specs}) == len(specs)


_ELSEWHERE = """
import sys
import raysched as rs
from raysched.runners.pinned import pin
job = rs.container("w", build=sys.argv[1], env={"B": "1", "A": "2"}, cap_add=["KILL", "CHOWN"])
print(job.spec.version(pin(job).code_hash))
"""


def test_the_version_is_the_same_in_every_process_and_from_every_folder(folder, tmp_path):
    root = str(Path(rs.__file__).parents[1])
    versions = set()
    for seed, name in (("1", "here"), ("2", "there")):
        copy = tmp_path / name / "wordcount"
        shutil.copytree(folder, copy)
        done = subprocess.run(
            [sys.executable, "-c", _ELSEWHERE, "wordcount"],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            cwd=copy.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        versions.add(done.stdout)
    assert len(versions) == 1
    assert len(versions.pop().strip()) == 12


def test_declaring_a_container_loads_neither_ray_nor_docker():
    code = (
        "import sys, raysched as rs; rs.container('w', image='a');"
        "assert not {'ray', 'docker', 'pandas', 'pyarrow', 'sqlalchemy'} & sys.modules.keys()"
    )
    root = str(Path(rs.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, check=True)
