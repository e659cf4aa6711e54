"""Tables cut nothing off and show foreign text as text."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cli.output import one_line, print_json, print_table, print_text

cells = st.text(max_size=30) | st.sampled_from(["microbatch[torch]", "[bold]no[/bold]", ":smile:", "a" * 300])


BOLD = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(rows: list[list[str]], stream: io.StringIO) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setenv("COLUMNS", "40")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "xterm")
        print_table(("first", "second"), rows)
    return stream.getvalue().splitlines()


@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=4))
def test_in_a_pipe_a_row_is_a_line_with_all_of_its_cells(rows: list[list[str]]) -> None:
    lines = shown(rows, io.StringIO())
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        assert line.split() == [word for cell in row for word in one_line(cell).split()]


@given(st.text(st.characters(codec="ascii"), min_size=60, max_size=200))
def test_on_a_narrow_terminal_cells_are_folded_and_never_cut(cell: str) -> None:
    lines = shown([[cell, ""]], Terminal())
    assert all(len(line) <= 40 for line in lines[1:])
    assert "".join("".join(lines[1:]).split()) == "".join(one_line(cell).split())


def test_on_a_narrow_terminal_long_columns_are_written_under_their_row() -> None:
    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setenv("COLUMNS", "40")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "xterm")
        rows = [
            ["npu", "no", "boxes in a rack", "no device node in the rack was found"],
            ["cpu", "yes", "NumPy", ""],
        ]
        print_table(("name", "here", "what", "why not"), rows, under=("why not",))
    assert [line.rstrip() for line in BOLD.sub("", stream.getvalue()).splitlines()] == [
        "name  here  what",
        "npu   no    boxes in a rack",
        "    why not: no device node in the rack",
        "    was found",
        "cpu   yes   NumPy",
    ]


def test_what_fits_stays_beside_its_row_and_in_a_pipe_always() -> None:
    rows = [["a", "b" * 60]]
    assert len(shown(rows, io.StringIO())) == 2
    assert shown([["a", "b"]], Terminal())[1:] == ["a      b"]


def test_lines_have_no_blanks_at_their_end() -> None:
    lines = shown([["a", "b" * 50], ["c", "d"]], io.StringIO())
    assert lines == [line.rstrip() for line in lines]


@given(st.text(st.characters(codec="ascii", categories=["L", "Zs"]), max_size=300))
def test_text_is_folded_between_words_on_a_terminal_only(text: str) -> None:
    def printed(stream: io.StringIO) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setenv("COLUMNS", "40")
            print_text(text)
        return stream.getvalue()

    assert printed(io.StringIO()) == f"{text}\n"
    folded = printed(Terminal())
    assert all(len(line) <= 40 for line in folded.splitlines())
    assert "".join(folded.split()) == "".join(text.split())


def test_an_empty_column_is_left_out() -> None:
    assert shown([["a", ""]], io.StringIO())[0].split() == ["first"]


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line == "" or line.isprintable()
    assert one_line(line) == line


def test_json_goes_through_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "microbatch[torch]", "text": "a\nb", "none": None, "list": [1, 2.5, True]}
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value
