"""Entry points read without `importlib.metadata`: the same answer, or the question is passed on."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from microbatch.loading import entry_points
from microbatch.loading.entry_points import PluginEntry, entry_of, installed

OURS = (
    "[console_scripts]\nmicrobatch = x:y\n\n[microbatch]\nbackends = ours_b\n# no entry\npolicies=ours_p:q\n"
)


def announce(folder: Path, name: str, text: str, metadata: str = "") -> None:
    info = folder / name
    info.mkdir(parents=True)
    project, _, version = name.removesuffix(".dist-info").partition("-")
    (info / "METADATA").write_text(
        metadata or f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
    )
    (info / "entry_points.txt").write_text(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the import path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path), str(tmp_path / "missing")])
    return tmp_path


def by_metadata() -> set[PluginEntry]:
    return {entry_of(point) for point in importlib.metadata.entry_points(group="microbatch")}


def test_ours_alone_are_read_from_the_text(place: Path) -> None:
    announce(place, "microbatch-7.1.dist-info", OURS)
    announce(place, "other-1.0.dist-info", "[console_scripts]\nmicrobatch = a:b\n")
    assert entry_points._ours_alone() is not None
    assert (
        set(installed())
        == by_metadata()
        == {
            PluginEntry(distribution="microbatch", name="backends", target="ours_b", version="7.1"),
            PluginEntry(distribution="microbatch", name="policies", target="ours_p:q", version="7.1"),
        }
    )


@pytest.mark.parametrize(
    "other",
    ["acme-0.3.dist-info", "Acme_Npu-1.0.dist-info", "acme-0.3.DIST-INFO", "microbatch-9.9.dist-info"],
)
def test_where_another_announces_the_group_metadata_is_asked(place: Path, other: str) -> None:
    announce(place, "microbatch-7.1.dist-info", OURS)
    announce(place, other, "[microbatch]\nacme = acme_plugin\n")
    assert entry_points._ours_alone() is None
    assert set(installed()) == by_metadata()


def test_an_egg_info_folder_counts(place: Path) -> None:
    announce(place, "microbatch-7.1.dist-info", OURS)
    announce(place, "acme-0.3.egg-info", "[microbatch]\nacme = acme_plugin\n")
    assert entry_points._ours_alone() is None


def test_nothing_installed_is_nothing_found(place: Path) -> None:
    assert installed() == ()


def test_an_archive_on_the_import_path_is_left_to_metadata(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(place, "microbatch-7.1.dist-info", OURS)
    archive = place / "packages.zip"
    archive.write_bytes(b"")
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    assert entry_points._ours_alone() is None


def test_a_finder_that_finds_distributions_is_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_distributions(*_: Any) -> list[Any]:
            return []

        @staticmethod
        def find_spec(*_: Any) -> None:
            return None

    announce(place, "microbatch-7.1.dist-info", OURS)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert entry_points._ours_alone() is None


def test_here_the_answer_is_that_of_metadata() -> None:
    assert set(installed()) == by_metadata()


def test_extras_of_an_entry_point_are_no_part_of_its_module(site: Any) -> None:
    site.install("acme", "", target="acme_plugin [fast]")
    (line,) = site.plugins().plugins()
    assert line.available and line.source == "acme_plugin [fast]"


def test_a_wrap_where_only_ours_are_installed_loads_no_reader_of_metadata_or_files() -> None:
    """What it costs is in `benchmarks/costs.py`; here, that it is not even loaded."""
    code = """
import sys, microbatch
from microbatch.loading.entry_points import _ours_alone
microbatch.wrap(lambda x: x)
slow = {"importlib.metadata", "email", "numpy.ma", "ctypes.util"}
print(*(slow & set(sys.modules) if _ours_alone() else ()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == []
