"""Rows that are image files, by Pillow (extra `images`): a row is an array of height x width x 3 bytes, RGB.

Invariant: an image is decoded in the block that needs it, and let go after that. The size of each is read
from its head before the first row is worked on: images of one size become one array, others a list of arrays,
in every block alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.errors import InputFileError
from microbatch.files.inputs import Inputs
from microbatch.files.source import Origin, parsing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Files that are taken for images."""
NAME = "file"
"""The column of their paths, for what is carried to the output."""


class ImageRows:
    """Images in the order of their paths."""

    whole = False

    def __init__(self, source: Origin, paths: Sequence[Path], *, carried: bool) -> None:
        self.source = source
        self.rows: int | None = len(paths)
        self._paths = paths
        self._carried = carried
        self._at = 0
        try:
            self._pillow: Any = import_module("PIL.Image")
        except ImportError:
            raise InputFileError(
                f"{source.path}: reading images needs Pillow, which is not installed; pip install "
                "microbatch[images]"
            ) from None
        self._sizes = [self._size(path) for path in paths]

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Nothing: the heads were read when they were opened."""

    def skip(self, rows: int) -> None:
        """Leave out so many rows."""
        self._at += rows

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """The next images, decoded."""
        stop, left = self._at, 1 << 62 if most_bytes is None else most_bytes
        while stop < len(self._paths) and stop - self._at < rows and left > 0:
            width, height = self._sizes[stop]
            left, stop = left - 3 * width * height, stop + 1
        paths, self._at = self._paths[self._at : stop], stop
        images: Any = [self._decoded(path) for path in paths]
        if len(set(self._sizes)) == 1:
            width, height = self._sizes[0]
            images = np.stack(images) if images else np.empty((0, height, width, 3), np.uint8)
        carried = {NAME: [str(path) for path in paths]} if self._carried else {}
        return Inputs(source=self.source, args=(images,), rows=len(paths), carried=carried)

    def _size(self, path: Path) -> tuple[int, int]:
        with self._reading(path), self._pillow.open(path) as image:
            width, height = image.size
        return int(width), int(height)

    def _decoded(self, path: Path) -> np.ndarray[Any, Any]:
        with self._reading(path), self._pillow.open(path) as image:
            return np.array(image.convert("RGB"))

    def _reading(self, path: Path) -> Any:
        return parsing(self.source, "save the image again, or take it out", str(path))
