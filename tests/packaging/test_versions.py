"""What the metadata promises of versions is what tox's environments install."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WITH_A_FRAMEWORK = ("torch", "cupy", "jax", "demo", "sentence-transformers", "ray", "dask", "datasets")
"""The extras that `oldest` does without."""


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def tox() -> configparser.ConfigParser:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini")
    return settings


@pytest.fixture(scope="module")
def environments(tox: configparser.ConfigParser) -> list[str]:
    """Those that tox runs if none is named."""
    return tox["tox"]["env_list"].split(", ")


def test_each_promised_python_has_an_environment(
    metadata: dict[str, Any], tox: configparser.ConfigParser
) -> None:
    """By default or by name."""
    classifiers = " ".join(metadata["project"]["classifiers"])
    promised = re.findall(r"Python :: (3\.\d+)", classifiers)
    several = next(name for name in tox.sections() if name.startswith("testenv:py{"))
    tested = {f"3.{number.removeprefix('3')}" for number in re.findall(r"\d+", several)}
    tested.add(tox["testenv:oldest"]["base_python"])
    assert promised and set(promised) <= tested
    assert metadata["project"]["requires-python"] == f">={promised[0]}"


def test_the_extras_promise_no_lower_version_than_the_tests_are_run_with(metadata: dict[str, Any]) -> None:
    extras = metadata["project"]["optional-dependencies"]
    promised = {one for name, extra in extras.items() if name not in WITH_A_FRAMEWORK for one in extra}
    assert promised <= set(metadata["dependency-groups"]["test"])


def test_each_dependency_has_a_lowest_version(metadata: dict[str, Any]) -> None:
    extras = metadata["project"]["optional-dependencies"].values()
    everything = [*metadata["project"]["dependencies"], *(one for extra in extras for one in extra)]
    assert [one for one in everything if ">=" not in one] == []


def test_contributors_are_told_of_each_environment(environments: list[str]) -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text().partition("`tox` runs these environments:")[2]
    assert re.findall(r"^\| `([\w-]+)` \|", told, re.MULTILINE) == environments
