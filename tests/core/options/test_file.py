"""The file: where it is looked for, which is trusted, and what each mistake in it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ConfigError
from microbatch.options.file import LARGEST, find, named, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository, so that nothing above it is looked at."""
    (tmp_path / ".git").mkdir()
    return tmp_path


def values(folder: Path) -> dict[str, Any] | None:
    file = find(folder)
    return None if file is None else dict(file.values)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_is_found_where_there_is_nothing(root: Path) -> None:
    assert find(root) is None


def test_the_nearest_file_upward_counts_alone(root: Path) -> None:
    write(root / "microbatch.toml", "num_ubatches = 3\nbackend = 'cpu'")
    deep = root / "a" / "b"
    write(deep / "microbatch.toml", "num_ubatches = 4")
    assert values(deep) == {"num_ubatches": 4}
    assert values(root / "a") == {"num_ubatches": 3, "backend": "cpu"}


def test_nothing_above_the_repository_is_read(root: Path) -> None:
    write(root / "microbatch.toml", "num_ubatches = 3")
    (root / "inner" / ".git").mkdir(parents=True)
    assert find(root / "inner") is None


def test_our_file_goes_before_the_shared_one(root: Path) -> None:
    write(root / "pyproject.toml", "[tool.microbatch]\nnum_ubatches = 5")
    assert values(root) == {"num_ubatches": 5}
    write(root / "microbatch.toml", "num_ubatches = 6")
    assert values(root) == {"num_ubatches": 6}


@pytest.mark.parametrize(
    "text", ["", "[tool.other]\nx = 1", "[project]\nname = 'microbatch'", "tool = 3 # microbatch", "broken ="]
)
def test_a_shared_file_without_our_table_is_passed_by(root: Path, text: str) -> None:
    write(root / "microbatch.toml", "num_ubatches = 3")
    write(root / "a" / "pyproject.toml", text)
    assert values(root / "a") == {"num_ubatches": 3}


def test_a_broken_shared_file_with_our_table_is_an_error(root: Path) -> None:
    write(root / "pyproject.toml", "[tool.microbatch]\nbackend = \n")
    with pytest.raises(ConfigError, match=r"pyproject\.toml is not valid TOML.*line 2, column 11"):
        find(root)


def test_our_table_must_be_a_table(root: Path) -> None:
    write(root / "pyproject.toml", "[tool]\nmicrobatch = 3")
    with pytest.raises(ConfigError, match="must be a table"):
        find(root)


@pytest.mark.bad_input(30)
def test_bad_toml_is_told_with_line_and_column(root: Path) -> None:
    write(root / "microbatch.toml", "a = 1\nb == 2")
    with pytest.raises(ConfigError, match=r"microbatch\.toml is not valid TOML: .*line 2, column 4"):
        find(root)


def test_a_key_given_twice_is_an_error(root: Path) -> None:
    write(root / "microbatch.toml", "backend = 'cpu'\nbackend = 'npu'\n")
    with pytest.raises(ConfigError, match="line 2"):
        find(root)


@pytest.mark.bad_input(30)
def test_a_file_that_is_not_utf8_is_told_with_the_place(root: Path) -> None:
    (root / "microbatch.toml").write_bytes(b"backend = '\xff'")
    with pytest.raises(ConfigError, match=r"microbatch\.toml is not UTF-8 at byte 11"):
        find(root)


@pytest.mark.bad_input(30)
def test_a_file_that_is_too_large_is_not_parsed(root: Path) -> None:
    write(root / "microbatch.toml", "#" * (LARGEST + 1))
    with pytest.raises(ConfigError, match=f"is larger than {LARGEST} bytes"):
        find(root)


def test_a_file_nested_without_end_is_an_error(root: Path) -> None:
    write(root / "microbatch.toml", "a = " + "[" * 30_000)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        find(root)


@pytest.mark.bad_input(30)
def test_a_directory_in_place_of_the_file_is_an_error(root: Path) -> None:
    (root / "microbatch.toml").mkdir()
    with pytest.raises(ConfigError, match=r"microbatch\.toml is a directory"):
        find(root)


def test_a_link_to_nowhere_is_an_error(root: Path) -> None:
    (root / "microbatch.toml").symlink_to(root / "gone")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        find(root)


def test_a_named_file_must_exist(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read: .*MICROBATCH_CONFIG"):
        named(root / "gone.toml")


def test_a_named_file_may_be_the_null_device() -> None:
    assert dict(named(Path(os.devnull)).values) == {}


def test_a_named_file_may_be_shared_and_have_nothing_for_us(root: Path) -> None:
    assert dict(named(write(root / "pyproject.toml", "")).values) == {}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners on this system")
def test_a_file_that_a_stranger_put_into_an_open_folder_does_not_count(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "microbatch.toml", "num_ubatches = 3")
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    assert values(root) == {"num_ubatches": 3}
    root.chmod(0o1777)
    assert find(root) is None


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("microbatch.toml", "\nbackend = 'cpu'\n\nnum_ubatches=2", 4),
        ("microbatch.toml", "backend = 'cpu'\n'num_ubatches' = 2", 2),
        ("microbatch.toml", "# num_ubatches = 1\n  num_ubatches = 2", 2),
        ("microbatch.toml", "backend = 'cpu'\n[num_ubatches]\na = 1", 2),
        ("microbatch.toml", "num_ubatches.a = 1", 1),
        ("microbatch.toml", "[other]\nnum_ubatches = 1\n[num_ubatches]", 3),
        ("pyproject.toml", "[a]\nnum_ubatches = 1\n[tool.microbatch]\n\nnum_ubatches = 2\n", 5),
        ("pyproject.toml", "[ tool . microbatch ]\nnum_ubatches = 2\n[b]\nnum_ubatches = 3", 2),
        ("pyproject.toml", "[b]\n[tool]\nmicrobatch = { backend = 'cpu', num_ubatches = 2 }", 3),
        ("pyproject.toml", "tool.microbatch.num_ubatches = 2", 1),
    ],
    ids=repr,
)
def test_each_key_is_found_on_its_line(root: Path, name: str, text: str, line: int) -> None:
    file = read(write(root / name, text), found=True)
    assert file is not None
    assert file.lines["num_ubatches"] == line
    assert file.place("num_ubatches") == f"{root / name}:{line}"


def test_a_key_that_cannot_be_located_is_told_without_a_line(root: Path) -> None:
    file = read(write(root / "microbatch.toml", '"num\\u005fubatches" = 2'), found=True)
    assert file is not None
    assert dict(file.values) == {"num_ubatches": 2}
    assert file.place("num_ubatches") == str(root / "microbatch.toml")


def test_a_place_below_the_working_directory_is_short(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = read(write(root / "a" / "microbatch.toml", "backend = 'cpu'"), found=True)
    assert file is not None
    monkeypatch.chdir(root)
    assert file.place("backend") == os.path.join("a", "microbatch.toml:1")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn" / "microbatch.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    try:
        file = read(path, found=True)
    except ConfigError as error:
        assert str(path) in str(error)
    else:
        assert file is not None
        assert set(file.lines) <= set(file.values)
