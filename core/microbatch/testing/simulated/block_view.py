"""Bytes of a block as an array or a staging buffer sees them, and how work on them is launched.

Invariant: queued work holds bytes, never arrays: an array that the program drops is freed at once, whatever
is still queued for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Self

import numpy as np

from microbatch.testing.recording.trace import Access
from microbatch.testing.simulated.capture import Launch
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.executor import Work
from microbatch.testing.simulated.memory import Block
from microbatch.testing.simulated.ranges import byte_ranges


class BlockView:
    """Some bytes of a block, with NumPy's shape and dtype."""

    __slots__ = ("__weakref__", "_ranges", "block", "owner", "view")

    def __init__(self, view: np.ndarray, block: Block, owner: SimulatedDevice) -> None:
        self.view = view
        """The bytes as NumPy sees them; reading them directly is a host read that nothing orders."""
        self.block = block
        """The block; it is freed when the last view of it goes."""
        self.owner = owner
        """The device that the block is of."""
        self._ranges: tuple[tuple[tuple[int, int], ...], bool] | None = None

    @classmethod
    def made(
        cls, shape: Sequence[int], dtype: Any, allocate: Callable[[int], Block], owner: SimulatedDevice
    ) -> Self:
        """A view of a new block, which `allocate` gives for a number of bytes."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        block = allocate(size)
        return cls(block.data[:size].view(kind).reshape(tuple(shape)), block, owner)

    shape = property(attrgetter("view.shape"), doc="As of NumPy.")
    dtype = property(attrgetter("view.dtype"), doc="As of NumPy.")
    ndim = property(attrgetter("view.ndim"), doc="As of NumPy.")
    size = property(attrgetter("view.size"), doc="As of NumPy.")
    nbytes = property(attrgetter("view.nbytes"), doc="As of NumPy.")
    itemsize = property(attrgetter("view.itemsize"), doc="As of NumPy.")
    strides = property(attrgetter("view.strides"), doc="As of NumPy.")
    flags = property(attrgetter("view.flags"), doc="As of NumPy.")

    def data_ptr(self) -> int:
        """The address of the first element, as of torch."""
        return int(self.view.__array_interface__["data"][0])

    def viewed(self, view: np.ndarray) -> Self:
        """Another view of the same block."""
        return type(self)(view, self.block, self.owner)

    def part(self, key: Any) -> Self:
        """The view at a key of slices and numbers; of one element it is 0-dimensional."""
        part = self.view[key]
        if not isinstance(part, np.ndarray):
            place = key if isinstance(key, tuple) else (key,)
            part = self.view[(*place, ...)]
        return self.viewed(part)

    def accesses(self, *, write: bool) -> list[Access]:
        """The bytes as the trace says them; one access is the usual case."""
        if self._ranges is None:
            self._ranges = byte_ranges(self.view, self.block.data.__array_interface__["data"][0])
        runs, exact = self._ranges
        return [Access(self.block.number, low, high, write, exact) for low, high in runs]

    def touched(self, label: str, *, write: bool) -> None:
        """Tell the trace that the calling thread touches these bytes itself."""
        self.owner.note("host", accesses=self.accesses(write=write), label=label)

    def __len__(self) -> int:
        return len(self.view)

    __hash__ = None  # type: ignore[assignment]


class DeviceView(BlockView):
    """A view of device memory, which queued work may compute with; a staging buffer is host memory."""

    __slots__ = ()

    @classmethod
    def empty(cls, owner: SimulatedDevice, shape: Sequence[int], dtype: Any) -> Self:
        """A new array of poison."""
        return cls.made(shape, dtype, owner.allocate, owner)

    def fetch(self) -> np.ndarray:
        """A host copy, after the current stream's work."""
        self.owner.current().synchronize()
        self.touched("read", write=False)
        return self.view.copy()


class StagingArray(BlockView):
    """A host buffer that the device copies from and to while the host goes on, as pinned memory is.

    Reading or writing one never waits. What the host finds in it before the copy is done is poison or the
    data of an earlier copy, and what it writes too early is what the device gets.
    """

    __slots__ = ()

    @property
    def device(self) -> str:
        """Where it is: on the host."""
        return "cpu"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self.touched("host read", write=False)
        return self.view.astype(dtype or self.dtype, copy=True)

    def __getitem__(self, key: Any) -> StagingArray:
        return self.part(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        part = self.part(key)
        part.touched("host write", write=True)
        part.view[...] = value

    def __repr__(self) -> str:
        return f"<staging buffer of {self.dtype} {self.shape} for {self.owner.name!r}>"


def launch(
    device: SimulatedDevice, work: Work, reads: Sequence[BlockView], writes: Sequence[BlockView], label: str
) -> None:
    """Put `work` on the current stream; it may use the views of these arrays, never the arrays."""
    accesses: list[Access] = []
    if device.trace is not None:
        for array in reads:
            accesses += array.accesses(write=False)
        for array in writes:
            accesses += array.accesses(write=True)
    device.launch(Launch(work=work, accesses=tuple(accesses), label=label))
