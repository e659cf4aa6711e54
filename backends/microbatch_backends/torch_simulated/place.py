"""Where the values of a tensor are: bytes of a block of the simulated device, as a plain tensor sees them.

Invariant: queued work holds plain tensors, never the user's: a tensor that the program drops gives its block
back at once, whatever is still queued for it. The block's bytes belong to NumPy, so they stay readable, and
the next owner of the block writes into the very same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from microbatch.testing.recording.trace import Access
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.memory import Block
from microbatch.testing.simulated.ranges import runs_of
from microbatch_backends.torch_simulated.plain import lasting


@dataclass(slots=True, eq=False)
class Place:
    """Some bytes of a block, with torch's shape, strides and dtype."""

    raw: torch.Tensor
    """The bytes as a plain tensor on the host; reading it directly is a read that nothing orders."""
    block: Block
    """The block; it is freed when the last place in it goes."""
    device: SimulatedDevice
    """Whose block it is."""

    def viewed(self, raw: torch.Tensor) -> Place:
        """Another view of the same block."""
        return Place(raw, self.block, self.device)

    def accesses(self, *, write: bool) -> list[Access]:
        """The bytes as the trace says them; one access is the usual case."""
        raw, size = self.raw, self.raw.element_size()
        if raw.numel() == 0:
            return []
        low = raw.data_ptr() - self.block.data.__array_interface__["data"][0]
        runs, exact = runs_of(low, size, raw.shape, [size * step for step in raw.stride()])
        return [Access(self.block.number, start, end, write, exact) for start, end in runs]


def place_for(
    device: SimulatedDevice, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> Place:
    """A place of poison in a block for the current stream; torch.OutOfMemoryError without room."""
    elements = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    elements = 0 if 0 in tuple(shape) else elements
    block = device.allocate(elements * dtype.itemsize)
    with lasting():
        raw = torch.from_numpy(block.data)[: elements * dtype.itemsize].view(dtype)
        return Place(raw.as_strided(tuple(shape), tuple(strides)), block, device)


def is_device(device: Any) -> bool:
    """Whether `device`, as users write it, names the simulated device."""
    if device is None:
        return False
    return isinstance(device, int) or torch.device(device).type == "cuda"
