"""How large the work of the GPU table is. Imports no framework, which may be missing."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DRY", "Scale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the work is, and where it runs."""

    device: str = "cuda"
    """cuda, or cpu for a dry run."""
    host_bytes: int = 4 << 30
    """The host batch that is copied in, computed on and copied out."""
    width: int = 4096
    """Columns of the host batch, and of the matrices."""
    products: int = 4
    """Matrix products a row goes through."""
    layers: int = 58
    """Layers of the launch-bound model and of the overlapping one."""
    small: int = 512
    """Width of the launch-bound model."""
    sizes: tuple[int, ...] = (8, 16, 32, 64)
    """Batches of the launch-bound model."""
    tokens: int = 8192
    """Rows of the overlapping model."""
    texts: int = 10_000
    """Paragraphs that are embedded."""
    elements: int = 1 << 28
    """Elements of the CuPy pipeline."""
    row_bytes: int = 4 << 20
    """Bytes that a row needs for a moment while a size is searched for; an allocator rounds up to 2 MiB."""
    most_rows: int = 1024
    """Most rows that any limit of that search lets run at a time."""
    limits: int = 12
    """Limits that are searched."""
    simulated: bool = False
    """Whether the device is simulated, so that no figure of time means anything."""
    rounds: int = 5
    """Rounds of each comparison."""

    @property
    def backend(self) -> str:
        """The backend of `device`."""
        return f"torch-{self.device}"


DRY = Scale(
    device="cpu",
    host_bytes=1 << 16,
    width=32,
    products=2,
    layers=3,
    small=8,
    sizes=(2, 4),
    tokens=16,
    texts=4,
    elements=1 << 8,
    row_bytes=1 << 16,
    most_rows=64,
    limits=2,
    rounds=1,
)
"""Milliseconds of work on the CPU: shows that the programs run, and nothing about speed."""
