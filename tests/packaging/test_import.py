"""What `import microbatch` costs, and what the installed distribution announces."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

import microbatch

HEAVY = ("torch", "cupy", "jax", "typer", "rich", "hypothesis", "pytest", "transformers", "pyarrow")


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after `code`."""
    tail = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tail}"], capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import microbatch",
        "import microbatch; microbatch.backends(); microbatch.policies(); microbatch.plugins()",
        "import microbatch; microbatch.wrap(lambda x: x)",
        "import microbatch_backends, microbatch_policies",
    ],
    ids=["import", "listings", "wrap", "entry points"],
)
def test_no_framework_and_no_tool_is_loaded(code: str) -> None:
    assert loaded(code).isdisjoint(HEAVY)


def test_import_alone_loads_not_even_numpy() -> None:
    assert loaded("import microbatch").isdisjoint({"numpy", "optree", "pluggy", "microbatch_backends"})


def test_all_public_names_exist() -> None:
    assert all(hasattr(microbatch, name) for name in microbatch.__all__)


def test_the_version_of_the_distribution_is_the_one_in_the_code() -> None:
    assert importlib.metadata.version("microbatch") == microbatch.__version__


def test_the_built_ins_come_through_the_group_that_third_parties_use() -> None:
    points = importlib.metadata.distribution("microbatch").entry_points
    ours = {point.name: point.value for point in points if point.group == "microbatch"}
    assert ours == {"backends": "microbatch_backends", "policies": "microbatch_policies"}


def test_the_command_is_installed() -> None:
    points = importlib.metadata.distribution("microbatch").entry_points
    (script,) = [point for point in points if point.group == "console_scripts"]
    assert (script.name, script.value) == ("microbatch", "microbatch.cli.app:main")
    assert callable(script.load())
