"""Find the batch in the arguments of a call, and in those of a part that is cut further.

Invariant: nothing is copied. A whole call is read by its layout and its sizes; a part is read as its batch
was, since a part may have as many rows as a weight beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from microbatch.arrays.looks import is_array
from microbatch.binding.batch import SINGLE, Batch
from microbatch.binding.infer import Inference, measure_batch
from microbatch.binding.padded_batch import PaddedBatch
from microbatch.binding.paths import CallLeaves, declared_rules, flatten_call
from microbatch.binding.proven import ProvenOutputs
from microbatch.binding.rules import TOKENS, Layout
from microbatch.binding.ways import Opened, untouched, ways_to_open
from microbatch.cutting.padding import shape_of
from microbatch.cutting.slices import BatchShape, Cut
from microbatch.extend.device import Device


class Binder(Struct, frozen=True, kw_only=True):
    """Finds the batch in any call of one function on one device."""

    layout: Layout | None
    """As given to the wrapper."""
    names: tuple[str, ...]
    """Parameter names of the function, by position."""
    device: Device
    """The backend that the arrays belong to, with its abilities."""
    strict: bool = False
    """Whether nothing is proven before it is cut, so that what sizes do not say for certain is an error."""
    given: BatchShape | None = None
    """The counts of the batch, where the caller gave a cut of it, which may be padded."""

    def of_cut(self, cut: Cut) -> Binder:
        """What finds the batch that `cut` is of; leaves may have its real rows, or the padded ones too."""
        return replace(self, given=shape_of(cut))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], reading: int = 0) -> Batch:
        """Find the batch in the arguments of one call.

        Undeclared, the first array says how many rows there are, and every array, list, tuple, deque or range
        with as many is cut; the others go to every ubatch as they are. `reading` takes another of the ways to
        read the sizes, and raises NoReadingError where there is no such. An array that fits nothing, and an
        object that hides rows, raise UncoveredArrayError; leaves that contradict each other or cannot be cut
        raise LayoutError.
        """
        alone = self.layout is None and self.given is None
        if alone and len(args) == 1 and not kwargs and not reading:
            leaf, backend = args[0], self.device.backend
            known = type(leaf) is np.ndarray  # whose rows every backend can cut
            if not known and is_array(leaf) and backend.owns(leaf):
                known = not backend.unsupported(leaf)
            if known and len(leaf.shape):
                rows = leaf.shape[0]
                batch = Batch(BatchShape(num_tokens=rows, num_requests=rows), args, SINGLE, None)
                batch.owners = self.device.owners
                return batch
        return self._bind_tree(args, dict(kwargs), reading)

    def _bind_tree(self, args: tuple[Any, ...], kwargs: dict[str, Any], reading: int) -> Batch:
        if all(map(is_array, (*args, *kwargs.values()))):
            opened = flatten_call(args, kwargs, self.layout, self.names)
            return self._measured(args, kwargs, opened, reading)
        ways = ways_to_open(args, kwargs, self.layout, self.names)
        if len(ways) > 1 and reading:  # the other way to open them is the second reading
            opened, reading = (ways[1], 0) if reading == 1 else (ways[0], reading - 1)
        else:
            opened = ways[0]
        batch = self._measured(args, kwargs, opened, reading)
        cut = [leaf for leaf, is_cut in batch.leaf_kinds() if is_cut]
        whole = {id(value) for value in untouched((*args, *kwargs.values()), batch.counts, cut)}
        if not whole:
            return batch
        held = tuple([_Held(value) if id(value) in whole else value for value in args])
        named = {name: _Held(value) if id(value) in whole else value for name, value in kwargs.items()}
        leaves, spec = flatten_call(held, named, self.layout, self.names)
        return batch.opened_less([leaf.value if type(leaf) is _Held else leaf for leaf in leaves], spec)

    def _measured(self, args: tuple[Any, ...], kwargs: dict[str, Any], opened: Opened, reading: int) -> Batch:
        leaves, spec = opened
        declared = declared_rules(spec, self.layout, "inputs", self.names)
        call = CallLeaves(args=args, kwargs=kwargs, values=leaves, spec=spec, names=self.names)
        how = Inference(reading, self.strict, self.given)
        found = measure_batch(call, declared, self.layout, self.device, how)
        if self.given is None:
            alone = len(args) == len(leaves) == 1 and not kwargs and leaves[0] is args[0]
            plain = alone and is_array(leaves[0]) and found.cuts[0].rule is TOKENS
            batch = Batch(found.shape, leaves, found.cuts, None if plain else spec)
        else:
            batch = PaddedBatch(found.shape, leaves, found.cuts, spec, self.device.backend)
        batch.declared = found.declared and self.layout is not None and bool(self.layout.outputs)
        batch.most_rows = found.most_rows
        batch.owners = self.device.owners
        return batch


class _Held:
    """Stands for an object that is not opened, while the arguments are."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class PartBinder:
    """Finds the batch in a part of a batch, which is to be cut further.

    A part may have as many rows as a weight beside it, so its sizes are not read again.
    """

    __slots__ = ("_binder", "_rules", "_spec", "device", "layout", "outputs", "splitter")

    def __init__(self, binder: Binder, batch: Batch, outputs: ProvenOutputs | None, splitter: str) -> None:
        self._binder = binder
        self._spec, self._rules = batch.spec_and_rules()
        self.device = binder.device
        self.layout = binder.layout
        self.outputs = outputs
        """What the outputs were shown to be; None takes the layout, then sizes."""
        self.splitter = splitter
        """How a part may be cut further: `even`, or `request-aligned` where only whole requests may be."""

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Find the batch in the arguments of one part."""
        spec = self._spec
        if spec is None:
            rows = args[0].shape[0]
            return self._owned(Batch(BatchShape(num_tokens=rows, num_requests=rows), args, SINGLE, None))
        tree: Any = (args, dict(kwargs))
        leaves, binder = spec.flatten_up_to(tree), self._binder
        call = CallLeaves(args=args, kwargs=dict(kwargs), values=leaves, spec=spec, names=binder.names)
        found = measure_batch(call, self._rules, self.layout, self.device, Inference())
        return self._owned(Batch(found.shape, leaves, found.cuts, spec))

    def _owned(self, batch: Batch) -> Batch:
        batch.owners = self.device.owners
        return batch
