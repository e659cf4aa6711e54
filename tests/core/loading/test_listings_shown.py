"""Listings show as tables, and are tuples all the same."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.loading.listing import Listing
from microbatch.loading.listings import Listings

LINES = st.lists(
    st.builds(
        Listing,
        name=st.text(min_size=1, max_size=20),
        kind=st.just("backend"),
        summary=st.text(max_size=80),
        available=st.booleans(),
        reason=st.text(max_size=20),
        priority=st.none() | st.integers(0, 99),
    ),
    max_size=4,
)


@given(LINES)
def test_a_line_of_text_each_below_their_titles(lines: list[Listing]) -> None:
    """However odd a plugin's texts are; JSON and comparisons are those of a tuple."""
    listings = Listings(lines)
    assert repr(listings).count("\n") == len(lines)
    assert listings == tuple(lines)
    assert msgspec.json.encode(listings) == msgspec.json.encode(tuple(lines))
    reader = HTMLParser()
    rows: list[str] = []
    reader.handle_starttag = lambda tag, attrs: rows.append(tag)  # type: ignore[method-assign]
    reader.feed(listings._repr_html_())
    assert rows.count("tr") == len(lines) + 1


def test_what_is_there_is_a_table() -> None:
    """All three."""
    for listed, name in (
        (microbatch.backends(), "cpu"),
        (microbatch.policies(), "memory-model"),
        (microbatch.plugins(), "backends"),
    ):
        title, *lines = repr(listed).splitlines()
        assert title.startswith("name") and "available" in title
        assert any(line.startswith(name) for line in lines)
