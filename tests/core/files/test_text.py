"""Text files are rows: as many as lines, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbatch.errors import InputFileError
from microbatch.files.line_rows import open_txt
from microbatch.files.source import Source


def read_text(source: Source) -> list[str]:
    """All lines, however they are taken."""
    (lines,) = open_txt(source).take(1 << 62).args
    rows = open_txt(source)
    some: list[str] = []
    while found := rows.take(2).args[0]:
        some += found
    assert some == lines
    return list(lines)


line = st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(line, max_size=8), ends=st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_a_row(tmp_path: Path, lines: list[str], ends: str) -> None:
    """Written with a break after each line, lines come back as they were, empty and odd ones too."""
    path = tmp_path / "rows.txt"
    path.write_bytes("".join(line + ends for line in lines).encode())
    assert read_text(Source(path)) == lines


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        ("a\u2028b\x0cc\n".encode(), ["a\u2028b\x0cc"]),
    ],
)
def test_edges(tmp_path: Path, data: bytes, rows: list[str]) -> None:
    """No row for nothing, a row for an empty line, no row after the last break, no mark, no other breaks."""
    path = tmp_path / "rows.txt"
    path.write_bytes(data)
    assert read_text(Source(path)) == rows


def test_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    """Latin-1 text is refused with the line it is in."""
    path = tmp_path / "rows.txt"
    path.write_bytes("first\nsecond\ncafé\n".encode("latin-1"))
    with pytest.raises(InputFileError, match=r"line 3 is not UTF-8 \(byte 0xe9\); save"):
        read_text(Source(path))
