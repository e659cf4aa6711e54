"""The page of a timeline loads nothing, and what came from elsewhere stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import microbatch
from microbatch.timeline.bars import Bar, SeenStep
from microbatch.timeline.page import page_of
from tests.support.drawn_bars import schedules

pytestmark = pytest.mark.counted


class Reader(HTMLParser):
    """Keeps tags with their attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


@given(schedules())
def test_each_bar_is_drawn_and_told(schedule: tuple[list[Bar], list[SeenStep]]) -> None:
    """A rectangle and a line of data each; nothing that a browser would load."""
    bars, _ = schedule
    page = page_of(bars, "", "")
    read = Reader(page)
    assert sum("data-i" in attributes for _, attributes in read.tags) == len(bars)
    assert len(json.loads(read.scripts[0])["bars"]) == len(bars)
    assert not [tag for tag, attributes in read.tags if {"src", "href"} & set(attributes)]
    assert not re.search(r"https?://|url\(|@import", page)


def test_labels_are_text(tmp_path: Path) -> None:
    """A yield's label cannot become a part of the page."""
    bad = "</script><script>alert(1)</script>@BARS@"

    def model(x: object) -> object:
        microbatch.dbo.dbo_yield(bad)
        return x

    wrapped = microbatch.wrap(model, schedule="pingpong", policy="fixed", num_ubatches=2)
    with wrapped, microbatch.record() as seen:
        wrapped(np.ones((4, 2)))
    seen.save(tmp_path / "seen.html")
    read = Reader((tmp_path / "seen.html").read_text("utf-8"))
    assert [tag for tag, _ in read.tags].count("script") == 2
    assert bad in {bar[6] for bar in json.loads(read.scripts[0])["bars"]}
