"""Bringing the inputs of a ubatch to the device, and its outputs back.

Invariant: a batch that has an array on the device stays where it is, its host arrays included; one that is
wholly on the host is moved wholly. Copies are launched on the current stream, from and into staging buffers
where the device has a memory of its own. Buffers for inputs are used again by the next ubatch of the same
ring slot; those for outputs are not, since the result may keep them. On a host backend only arrays in mapped
files are copied: the copy then reads the file, beside the compute, where else the first access in the
function would.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import flatten, map_leaves
from microbatch.errors import LayoutError
from microbatch.extend.abilities import SupportsTransfer
from microbatch.extend.device import Device

Buffers = dict[int, Any]
"""Staging buffers of one ring slot, by the number of the leaf."""


def moves(device: Device) -> bool:
    """Whether host arrays are brought to the device: not where the host is its home."""
    return device.transfer is not None and not device.backend.owns(np.empty(0))


class Mover:
    """Moves the arrays of ubatches for one backend."""

    def __init__(self, device: Device) -> None:
        self._backend = backend = device.backend
        self._transfer = device.transfer
        self._host_is_home = backend.owns(np.empty(0))

    def fetch(self, inputs: Any, buffers: Buffers) -> tuple[Any, bool]:
        """`inputs` on the device, and whether they were moved there.

        The caller keeps `inputs` until the copies are done. Raises LayoutError where autograd records one.
        """
        transfer = self._transfer
        if transfer is None:
            return inputs, False
        leaves, spec = flatten(inputs)
        if self._host_is_home:
            return spec.unflatten([self._read(leaf) if _in_file(leaf) else leaf for leaf in leaves]), False
        arrays = [leaf for leaf in leaves if is_array(leaf)]
        if not arrays or any(self._backend.owns(leaf) for leaf in arrays):
            return inputs, False
        if self._backend.differentiable(arrays):
            raise LayoutError(
                "autograd records an input that is still on the host, and staging would cut it off; "
                "move the batch to the device before the call"
            )
        moved = [
            self._to_device(transfer, leaf, index, buffers) if is_array(leaf) else leaf
            for index, leaf in enumerate(leaves)
        ]
        return spec.unflatten(moved), True

    def send(self, outputs: Any) -> Any:
        """`outputs` in staging buffers, which may be read once the current stream has come here."""
        return map_leaves(self._to_host, outputs)

    def _read(self, leaf: Any) -> Any:
        """A copy of an array in a mapped file."""
        fresh = self._backend.empty(leaf.shape, leaf)
        self._backend.copy(fresh, leaf)
        return fresh

    def _to_device(self, transfer: SupportsTransfer, leaf: Any, index: int, buffers: Buffers) -> Any:
        buffer = buffers.get(index)
        if buffer is None or buffer.shape != leaf.shape or buffer.dtype != leaf.dtype:
            buffer = buffers[index] = transfer.staging(leaf.shape, leaf)
        self._backend.copy(buffer, leaf)
        there = transfer.empty_device(leaf.shape, leaf)
        transfer.to_device(there, buffer)
        return there

    def _to_host(self, leaf: Any) -> Any:
        transfer = self._transfer
        if transfer is None or not is_array(leaf) or not self._backend.owns(leaf):
            return leaf
        buffer = transfer.staging(leaf.shape, leaf)
        transfer.to_host(buffer, leaf)
        return buffer


def _in_file(leaf: Any) -> bool:
    """Whether the bytes of `leaf` are in a mapped file."""
    while isinstance(leaf, np.ndarray):
        if isinstance(leaf, np.memmap):
            return True
        leaf = leaf.base
    return isinstance(leaf, mmap.mmap)
