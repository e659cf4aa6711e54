"""Functions on rows of text, for `microbatch run`: see `docs/files.md`."""

from __future__ import annotations

import numpy as np


def count(text: list[str]) -> dict[str, np.ndarray]:
    """Words and letters of each text."""
    return {
        "words": np.array([len(row.split()) for row in text]),
        "letters": np.array([len(row) for row in text]),
    }


class Shorten:
    """The first words of each text; made once, with what `--arg` gives."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def __call__(self, text: list[str]) -> list[str]:
        """Raises ValueError for a text without words."""
        if not all(row.split() for row in text):
            raise ValueError("a text has no words")
        return [" ".join(row.split()[: self._limit]) for row in text]
