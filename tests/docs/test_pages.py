"""Whoever follows a page literally in an empty folder gets what it says; `blocks.py` has the rules."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.blocks import FOLLOWED, ROOT, SHOWN, blocks, needs, pages
from tests.docs.reader import Reader

WITH_CODE = [page for page in pages() if any(b.language in FOLLOWED and not b.reason for b in blocks(page))]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A page may turn logging on."""
    logger = logging.getLogger("microbatch")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_can_be_followed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its blocks, in their order."""
    for name in needs(page):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed, and the page needs it")
    reader = Reader(tmp_path, monkeypatch)
    for block in blocks(page):
        if block.language in FOLLOWED and block.reason is None:
            reader.follow(block, page)


@pytest.mark.parametrize("page", pages())
def test_each_block_is_run_or_shown(page: str) -> None:
    """No block is of a language that nobody looks at, and no fence is left out of the count."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = blocks(page)
    assert {block.language for block in found} <= {*FOLLOWED, *SHOWN}
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found)
    assert all(len(block.reason.split()) > 2 for block in found if block.reason is not None)


def test_the_pages_are_found() -> None:
    """The rules above hold for something."""
    assert len(WITH_CODE) > 20
