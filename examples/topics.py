"""Write real text to try things on: the prose of Python's own documentation topics, a paragraph a line.

The text comes with every Python (`pydoc_data.topics`, what `help("lambda")` prints), so nothing is
downloaded. Paragraphs run from a few words to several hundred, which is what makes padding and cutting
matter. Headings, grammar rules, tables and code are left out: they are not prose.

    python examples/topics.py topics.txt --paragraphs 200
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

NOT_PROSE = re.compile(r"::=|^>>>|^\.\.\. |^\+[-=]|^\||[=*~^\"'-]{4,}$", re.MULTILINE)
"""Grammar rules, interpreter sessions, tables, and the underlines of headings."""


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph reads as sentences: four words or more, four of five of its characters letters
    or spaces."""
    plain = sum(letter.isalpha() or letter.isspace() for letter in paragraph)
    return len(paragraph.split()) >= 4 and plain >= 0.8 * len(paragraph) and not NOT_PROSE.search(paragraph)


def paragraphs() -> Iterator[str]:
    """The prose paragraphs of all topics, in the order of their names, each on one line."""
    for name in sorted(topics):
        for block in re.split(r"\n\s*\n", topics[name]):
            text = "\n".join(line.strip() for line in block.splitlines())
            if is_prose(text):
                yield " ".join(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description="write the prose of Python's documentation topics")
    parser.add_argument("output", type=Path, help="the text file to write, such as topics.txt")
    parser.add_argument("--paragraphs", type=int, default=None, help="how many; all when left out")
    options = parser.parse_args()
    lines = list(paragraphs())[: options.paragraphs]
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{options.output}: {len(lines):,} paragraphs, {sum(map(len, lines)):,} characters")


if __name__ == "__main__":
    main()
