"""Real distributions in a temporary folder: metadata, entry points and modules, as if installed."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from microbatch.loading.plugins import Plugins

HEAD = """
from microbatch.extend.hookspecs import hookimpl
from microbatch.extend.protocols import Backend, SizingPolicy
from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo, Proposal
"""


class Site:
    """A folder on the import path, with distributions in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def module(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(HEAD + dedent(source))
        self.modules.append(name)

    def install(
        self,
        distribution: str,
        source: str,
        *,
        version: str = "1.0",
        entry: str | None = None,
        target: str | None = None,
    ) -> None:
        """One distribution with one module and one entry point of our group."""
        module = distribution.replace("-", "_") + "_plugin"
        self.module(module, source)
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(
            f"[microbatch]\n{entry or distribution} = {target or module}\n"
        )

    def plugins(self, *extra: object, **environment: str) -> Plugins:
        found = importlib.metadata.distributions(path=[str(self.folder)])
        points = [point for each in found for point in each.entry_points.select(group="microbatch")]
        return Plugins(entry_points=points, extra=extra, environment=environment)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Site(tmp_path)
    yield made
    for name in made.modules:
        sys.modules.pop(name, None)
