"""The three formats of `/proc` that a memory reading needs."""

from __future__ import annotations

from pathlib import Path

from microbatch.sizing.cgroups import read_text

__all__ = ["counters", "kibibytes", "pressure_stall"]


def kibibytes(path: Path) -> dict[str, int]:
    """{name: bytes} of lines `Name:  123 kB`; other lines and other units are left out."""
    found: dict[str, int] = {}
    for line in read_text(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def counters(path: Path) -> dict[str, int]:
    """{name: number} of lines `name 123`."""
    pairs = (line.split() for line in read_text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def pressure_stall(path: Path) -> float:
    """Percent of the last 10 s in which some task waited for memory (`some avg10=`); 0 where not told."""
    for line in read_text(path).splitlines():
        words = line.split()
        if words and words[0] == "some":
            values = [word.partition("=")[2] for word in words if word.startswith("avg10=")]
            try:
                return max(0.0, float(values[0])) if values else 0.0
            except ValueError:
                return 0.0
    return 0.0
