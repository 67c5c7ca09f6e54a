"""What a `.dockerignore` leaves out: the table was compared with `docker build`."""

import pytest

from raysched.runners.ignored import kept, parse

FILES = (
    *("a.py", "b.txt", "x[1].txt", "data/a.csv", "lib/a.py", "lib/deep/b.py", "lib/deep/c.txt"),
    *("node_modules/x/y.js", "web/node_modules/x/y.js", "web/keep.js"),
)


@pytest.fixture
def left_out(tmp_path):
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)

    def left_out(text: str) -> set[str]:
        return set(FILES) - set(kept(tmp_path, parse(text)))

    return left_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("# *\n\n  \n", ""),
        ("*", " ".join(FILES)),
        ("*\n!lib", " ".join(name for name in FILES if not name.startswith("lib/"))),
        ("*\n!lib/deep/*.py", " ".join(name for name in FILES if name != "lib/deep/b.py")),
        ("*\n!**/*.py", " ".join(name for name in FILES if name[-3:] != ".py")),
        ("lib/**\n!lib/**/*.py", "lib/deep/c.txt"),
        ("lib\n!lib/a.py", "lib/deep/b.py lib/deep/c.txt"),
        ("!lib/a.py\nlib", "lib/a.py lib/deep/b.py lib/deep/c.txt"),
        ("lib/*\n!lib/deep\nlib/deep/c.*", "lib/a.py lib/deep/c.txt"),
        ("**/node_modules\n!node_modules/x", "web/node_modules/x/y.js"),
        ("node_modules/", "node_modules/x/y.js"),
        ("/lib/./deep//", "lib/deep/b.py lib/deep/c.txt"),
        ("web/../lib/deep", "lib/deep/b.py lib/deep/c.txt"),
        ("../lib", ""),
        ("DATA\nLib/a.py", ""),  # case counts
        ("[^b].py", "a.py"),
        ("[a-b].[pt]*", "a.py b.txt"),
        ("x\\[1\\].txt", "x[1].txt"),
        ("x[[]1].txt", "x[1].txt"),
        ("?.py", "a.py"),
        ("**.py", "a.py lib/a.py lib/deep/b.py"),
        ("**/deep/**", "lib/deep/b.py lib/deep/c.txt"),
        ("a.py  \r\n\tb.txt\r\n", "a.py b.txt"),
        ("a.py\n! a.py", ""),
    ],
)
def test_the_last_pattern_that_fits_decides(left_out, text, expected):
    assert left_out(text) == set(expected.split())


@pytest.mark.parametrize("text", ["!", "a\n! ", "[", "lib/[a", "[]", "[a-]", "[z-a]", "a\\"])
def test_a_malformed_pattern_is_named(text):
    with pytest.raises(ValueError, match=r"^'"):
        parse(text)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a").write_text("")
    (tmp_path / "link").symlink_to("lib")
    (tmp_path / "loop").symlink_to(".")
    assert sorted(kept(tmp_path, parse("lib/a\n!link/a"))) == ["lib", "link", "loop"]
