"""Bytes of a block as an array or a staging buffer sees them, and what it asks of the device behind them.

Invariant: arrays, calls of NumPy and the device itself import this file, and it imports none of them. So a
view knows its device only as an `ArrayDevice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from microbatch.testing.simulated.executor import Work
from microbatch.testing.simulated.memory import Block
from microbatch.testing.simulated.ranges import byte_ranges

__all__ = ["ArrayDevice", "BlockView", "DeviceView"]


class ArrayDevice(Protocol):
    """What arrays and calls of NumPy ask of a simulated device."""

    name: str
    """Its name, for messages."""
    lazy: bool
    """Whether work runs after its launch, so that shapes of results must be known without it."""

    @property
    def in_capture(self) -> bool:
        """Whether what the calling thread launches now is captured."""
        ...

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceView:
        """A new array of poison."""
        ...

    def fetch(self, array: DeviceView) -> np.ndarray:
        """A host copy, after the work of the current stream."""
        ...

    def launch(self, work: Work, reads: Sequence[BlockView], writes: Sequence[BlockView], label: str) -> None:
        """Put `work` on the current stream."""
        ...

    def host_access(self, view: BlockView, label: str, *, write: bool) -> None:
        """Tell the trace that the calling thread touches these bytes itself."""
        ...


class BlockView:
    """Some bytes of a block, with NumPy's shape and dtype."""

    __slots__ = ("__weakref__", "_ranges", "block", "owner", "view")

    def __init__(self, view: np.ndarray, block: Block, owner: ArrayDevice) -> None:
        self.view = view
        """The bytes as NumPy sees them; reading them directly is a host read that nothing orders."""
        self.block = block
        """The block; it is freed when the last view of it goes."""
        self.owner = owner
        """The device that the block is of."""
        self._ranges: tuple[tuple[tuple[int, int], ...], bool] | None = None

    @property
    def ranges(self) -> tuple[tuple[tuple[int, int], ...], bool]:
        """The bytes of its block that it covers, and whether they are exact."""
        if self._ranges is None:
            self._ranges = byte_ranges(self.view, self.block.data.__array_interface__["data"][0])
        return self._ranges

    @property
    def shape(self) -> tuple[int, ...]:
        """As of NumPy."""
        return self.view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of NumPy."""
        return self.view.dtype

    @property
    def ndim(self) -> int:
        """As of NumPy."""
        return self.view.ndim

    @property
    def size(self) -> int:
        """As of NumPy."""
        return self.view.size

    @property
    def nbytes(self) -> int:
        """As of NumPy."""
        return self.view.nbytes

    @property
    def itemsize(self) -> int:
        """As of NumPy."""
        return self.view.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """As of NumPy."""
        return self.view.strides

    def data_ptr(self) -> int:
        """The address of the first element, as of torch."""
        return int(self.view.__array_interface__["data"][0])

    def viewed(self, view: np.ndarray) -> Self:
        """Another view of the same block."""
        return type(self)(view, self.block, self.owner)

    def __len__(self) -> int:
        return len(self.view)

    __hash__ = None  # type: ignore[assignment]


class DeviceView(BlockView):
    """A view of device memory, which queued work may compute with; a staging buffer is host memory."""

    __slots__ = ()
