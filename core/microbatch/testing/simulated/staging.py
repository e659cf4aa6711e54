"""Host buffers that the device copies from and to while the host goes on.

Invariant: reading or writing one never waits. What the host finds in it before the copy is done is poison or
the data of an earlier copy, and what it writes too early is what the device gets: as with pinned memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.testing.simulated.block_view import BlockView


class StagingArray(BlockView):
    """A host buffer of a simulated device; `numpy.asarray` copies it as it is now."""

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
