"""The pictures of the documents are those that the repository can make, and each is shown somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.docs.blocks import ROOT, pages

pytest.importorskip("matplotlib", reason="the extra `plot` has it")

from benchmarks.pictures.__main__ import PICTURES, main

MEASURED = ("dual-batch", "tune")
"""Pictures that take seconds, and show the machine that they were made on."""

PLOTS = ("time-against-size", "cost-of-a-ubatch")
"""What `python -m benchmarks plots` draws, in minutes."""


def test_each_picture_is_there_and_shown() -> None:
    """By a page of the site; every picture that a page shows has a text for those who cannot see it."""
    shown = [
        (text, Path(path).stem)
        for page in pages()
        for text, path in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", (ROOT / page).read_text())
    ]
    assert {name for _, name in shown} == {*PICTURES, *PLOTS}
    assert all((ROOT / f"docs/{name}.png").exists() for name in PLOTS)
    assert {path.stem for path in (ROOT / "docs/pictures").glob("*.svg")} == set(PICTURES)
    assert all(len(text) > 20 for text, _ in shown)


@pytest.mark.parametrize("name", [name for name in PICTURES if name not in MEASURED])
def test_a_picture_can_be_made_anew(name: str, tmp_path: Path) -> None:
    """By its command, as a drawing with something in it."""
    assert main([name, "--to", str(tmp_path)]) == 0
    root = ET.fromstring((tmp_path / f"{name}.svg").read_text())
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 20
