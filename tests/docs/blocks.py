"""The blocks of code of the documents: every ```python and ```bash block runs, or says why it does not.

Invariant: a block is run unless the line before it is `<!-- not run: REASON -->`. A page says with
`<!-- needs: NAME, NAME -->` what has to be installed for it. A block with a title is a file that the reader
writes: ```python title="shout.py".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("python", "bash")
"""Languages whose blocks run. Blocks of other languages show what is printed, or are files of settings."""
SHOWN = ("text", "toml", "json")
FOLLOWED = (*RUN, "diff")
"""Languages of blocks that a reader does something with; a ```diff is a change of the file in its title."""
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^(?P<indent> *)```(?P<language>\w*)(?P<rest>[^\n]*)\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
TITLE = re.compile(r'title="([^"]+)"')
NEEDS = re.compile(r"<!-- needs: ([\w., ]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a page."""

    language: str
    """The word behind the fence."""
    title: str | None
    """The file that it is, None where it is none."""
    code: str
    """What is in it."""
    reason: str | None
    """Why it is not run, None where it is."""


def pages() -> list[str]:
    """Every document that people read, by its path from the root."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *found]


def blocks(page: str) -> list[Block]:
    """The blocks of a page in their order."""
    return [block_of(found) for found in FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))]


def block_of(found: re.Match[str]) -> Block:
    title, indent = TITLE.search(found["rest"]), len(found["indent"])
    lines = (line[indent:] for line in found["code"].splitlines(keepends=True))
    return Block(
        language=found["language"],
        title=title[1] if title else None,
        code="".join(line or "\n" for line in lines),
        reason=found["reason"],
    )


def needs(page: str) -> list[str]:
    """What has to be installed for the code of a page."""
    return [
        name.strip()
        for line in NEEDS.findall((ROOT / page).read_text(encoding="utf-8"))
        for name in line.split(",")
    ]
