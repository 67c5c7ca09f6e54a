"""Container jobs in a folder: declared in TOML, and in Python beside functions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import raysched as rs
from raysched.client.deployments import deployments
from raysched.client.folder import scan
from raysched.errors import DeclarationError


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "jobs"
    made.mkdir()
    return made


def write(root, name, text, dockerfile=True):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "job.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    if dockerfile:
        (folder / "Dockerfile").write_text("FROM scratch\n")
    return folder


def only(root):
    found = scan(root)
    assert found.faults == []
    (one,) = found.found
    return one.job


def test_a_folder_with_an_empty_job_file_builds_itself_under_its_name(root):
    folder = write(root, "wordcount", "")
    job = only(root)
    assert job.name == "wordcount"
    assert job.context == folder
    assert job.spec == rs.container("wordcount", build=folder).spec
    assert only(folder / "job.toml").spec == only(folder).spec == job.spec


def test_a_job_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(root):
    write(root, "w", b'\xef\xbb\xbfimage = "a"\r\nmemory = "8MiB"\r\n')
    assert only(root).spec.resources.memory_bytes == 8 * 2**20


def test_a_job_file_says_all_that_python_can(root, monkeypatch):
    monkeypatch.chdir("/")
    write(
        root,
        "w",
        """
        name = "count-words"
        image = "acme/wordcount:1"
        command = ["python", "app.py"]
        timezone = "Europe/Berlin"
        num_cpus = 0.5
        memory = "64MiB"
        timeout = "1h"
        tags = ["etl"]
        cap_add = ["CHOWN"]
        read_only = true
        schedule = [
            "0 6 * * *",
            {cron = "0 0 6 * * *", seconds = true, timezone = "Asia/Tokyo", jitter = "5s"},
            {every = "15m", start = 2027-01-01T00:00:00Z, end = 2027-01-02T00:00:00+01:00},
            {after_end = "5m", start = "2027-01-01T00:00Z"},
            {at = 2027-01-01T00:00:00Z},
        ]
        [retries]
        retries = 3
        delay = "30s"
        backoff = 2
        max_delay = "1m"
        [params]
        language = "en"
        [env]
        A = "1"
        [[mounts]]
        source = "/data"
        target = "/data"
        read_only = false
        """,
    )
    assert (
        only(root).spec
        == rs.container(
            "count-words",
            image="acme/wordcount:1",
            command=["python", "app.py"],
            timezone="Europe/Berlin",
            num_cpus=0.5,
            memory="64MiB",
            timeout="1h",
            tags=["etl"],
            cap_add=["CHOWN"],
            read_only=True,
            schedule=[
                "0 6 * * *",
                rs.cron("0 0 6 * * *", seconds=True, timezone="Asia/Tokyo", jitter="5s"),
                rs.every("15m", start="2027-01-01T00:00Z", end="2027-01-01T23:00Z"),
                rs.after_end("5m", start="2027-01-01T00:00Z"),
                rs.at("2027-01-01T00:00Z"),
            ],
            retries=rs.Retry(3, delay="30s", backoff=2, max_delay="1m"),
            params={"language": "en"},
            env={"A": "1"},
            mounts=["/data:/data:rw"],
        ).spec
    )


def test_paths_are_relative_to_the_job_file_alone(root, monkeypatch):
    folder = write(root, "w", 'build = "src"', dockerfile=False)
    for place in (folder / "src", root / "src"):
        place.mkdir()
        (place / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(root)
    assert only(root).context == folder / "src"


BROKEN = [
    ("\nname = \n", 2, "Invalid value"),
    ("name = ", None, "Invalid value"),
    ('image = "a"\n\nimage = "b"\n', 3, "Cannot overwrite"),
    (b"\xff\xfe", None, "UnicodeDecodeError"),
    ("a = " + "[" * 5000, None, "Recursion|Unclosed|Invalid|nest"),
    ('image = "a"\nshedule = "@daily"\n', 2, "no option 'shedule'.*\n.*\n.*'schedule'"),
    ('image = "a"\nruntime_env = {}\n', 2, "no option 'runtime_env'"),
    ('image = "a"\ntimeout = "5"\n', 2, "timeout='5' is not a duration"),
    ('image = "A"\n', 1, "lower case"),
    ('image = "a"\n[env]\nLD_PRELOAD = "x"\n', 2, "LD_PRELOAD"),
    ('image = "a"\n[[mounts]]\nsorce = "/a"\n', 3, "no field 'sorce'.*\n.*\n.*'source'"),
    ('image = "a"\nretries = {retry = 3}\n', 2, "retries has no field 'retry'.*\n.*\n.*'retries'"),
    ('image = "a"\n[retries]\ndelai = "1s"\n', 3, "no field 'delai'.*\n.*\n.*'delay'"),
    ('image = "a"\nretries = "3"\n', 2, "retries='3' is refused"),
    ('image = "a"\nschedule = "61 * * * *"\n', 2, "cron '61"),
    ('image = "a"\nschedule = {}\n', 2, "schedule has no kind"),
    ('image = "a"\nschedule = {every = "1m", at = "x"}\n', 2, "every and at in one table"),
    ('image = "a"\nschedule = {evry = "1m"}\n', 2, "no kind"),
    ('image = "a"\nschedule = {every = "1m", strt = "x"}\n', 2, "no field 'strt'.*\n.*\n.*'start'"),
    ('image = "a"\nschedule = {at = "x", jitter = "1s"}\n', 2, "no field 'jitter'"),
    ('image = "a"\nschedule = {cron = "@daily", seconds = 1}\n', 2, "seconds=1 is refused"),
    ('image = "a"\nschedule = {cron = 5}\n', 2, "cron"),
    ('image = "a"\nschedule = {at = 2027-01-01T00:00:00}\n', 2, "no time zone"),
    ('image = "a"\nschedule = {at = 2027-01-01}\n', 2, "not an instant"),
    ('image = "a"\nschedule = [["@daily"], 5]\n', 2, "is not a schedule"),
    ('image = "a"\nparams = {day = 2027-01-01}\n', 2, "is of type 'date'"),
    ('image = "a"\nbuild = "."\n', None, "both image and build"),
    ('build = "nope"\n', 1, "is not a folder"),
    ('image = "a"\nname = "a b"\n', 2, "job name 'a b' is refused"),
    ('image = "a"\ntags = ["a b"]\n', 2, "tag 'a b' is refused"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_job_file_is_a_fault_with_its_line_and_hides_no_other(root, text, line, reason):
    write(root, "broken", text)
    write(root, "good", 'image = "a"')
    (root / "native.py").write_text("import raysched as rs\n\n@rs.job\ndef native(): ...\n")
    found = scan(root)
    assert sorted(each.job.name for each in found.found) == ["good", "native"]
    (fault,) = found.faults
    assert fault.file == root / "broken" / "job.toml"
    assert fault.line == line
    assert re.search(reason, fault.error), fault.error


def test_a_job_file_with_neither_image_nor_dockerfile_is_a_fault(root):
    write(root, "w", 'schedule = "@daily"', dockerfile=False)
    assert "neither image nor build" in scan(root).faults[0].error


def test_hidden_and_helping_folders_declare_nothing(root):
    for name in ("_w", ".w", "a/_b/w", "a/.b/w"):
        write(root, name, "broken =")
    found = scan(root)
    assert (found.found, found.faults) == ([], [])


def test_a_dockerfile_alone_is_no_job_and_its_python_files_are_not_imported(root):
    for name in ("plain", "declared"):
        folder = write(root, name, "") if name == "declared" else root / name
        (folder / "src").mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM scratch\n")
        (folder / "app.py").write_text("raise SystemExit('run outside of its container')\n")
        (folder / "src" / "more.py").write_text("raise SystemExit\n")
    assert only(root).name == "declared"
    assert only(root / "declared").name == "declared"


def test_a_dockerfile_of_the_whole_folder_hides_no_job_file(root):
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "native.py").write_text("import raysched as rs\n\n@rs.job\ndef native(): ...\n")
    assert only(root).name == "native"


def test_functions_and_containers_stand_side_by_side_in_one_file(root, monkeypatch):
    monkeypatch.chdir("/")
    (root / "image").mkdir()
    (root / "image" / "Dockerfile").write_text("FROM scratch\n")
    (root / "_helper.py").write_text(
        "import raysched as rs\n\ndef make(name):\n    return rs.container(name, image='made')\n"
    )
    (root / "both.py").write_text(
        "import raysched as rs\nfrom _helper import make\n\n"
        "@rs.job\ndef native(): ...\n\n"
        "built = rs.container('built', build='image')\nmade = make('made')\n"
    )
    (root / "importer.py").write_text("from both import built, made, native\n")
    found = scan(root)
    assert found.faults == []
    assert {each.job.name: each.file.name for each in found.found} == dict.fromkeys(
        ["native", "built", "made"], "both.py"
    )
    assert next(each.job for each in found.found if each.job.name == "built").context == (
        root / "image"
    )
    assert {each.job.name: each.job.origin.line for each in found.found} == {
        **{"native": 4, "built": 7, "made": 8}
    }


def test_a_name_that_is_taken_is_told_with_the_file_that_has_it(root):
    write(root, "a", 'name = "w"\nimage = "a"')
    write(root, "b", 'name = "w"\nimage = "b"')
    (root / "z.py").write_text("import raysched as rs\nw = rs.container('w', image='c')\n")
    faults = scan(root).faults
    assert [(fault.file.relative_to(root), fault.line) for fault in faults] == [
        (Path("b/job.toml"), None),
        (Path("z.py"), 2),
    ]
    assert "a/job.toml declares it too" in faults[0].error


def test_a_folder_with_a_fault_deploys_nothing_and_names_the_file(root):
    write(root, "a", 'image = "a"')
    write(root, "b", 'image = "B"')
    with pytest.raises(DeclarationError, match=r"b/job\.toml, line 1"):
        deployments([root])
