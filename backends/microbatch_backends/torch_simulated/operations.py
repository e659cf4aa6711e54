"""From an operation of torch to work on a stream.

Invariant: work that is queued holds plain tensors of device memory and copies of host operands. Shapes of
results come from torch's `meta` kernels, so a wrong shape is an error where it is launched; an operation
without such a kernel is run once on zeros. What depends on values makes the host wait for the current stream,
as on a real device, and nothing else does.

A `device=` that arrives here is one that torch's C++ side took from a tensor of ours, which is a host tensor
there; so it means "where the tensor is". What users ask for is seen before (`factories`, `transfers`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from microbatch.testing.recording.trace import Access
from microbatch.testing.simulated.capture import Launch
from microbatch_backends.torch_simulated import transfers
from microbatch_backends.torch_simulated.arguments import leaves_in, mapped
from microbatch_backends.torch_simulated.outlines import Outline, outlines_of
from microbatch_backends.torch_simulated.place import Place, place_for
from microbatch_backends.torch_simulated.plain import lasting, plain
from microbatch_backends.torch_simulated.randomness import drawn
from microbatch_backends.torch_simulated.schemas import Traits, traits_of
from microbatch_backends.torch_simulated.simulated import TorchStreams
from microbatch_backends.torch_simulated.tensor import DeviceTensor, made

aten = torch.ops.aten
BOOLEAN = (torch.bool, torch.uint8)


class TorchOperations:
    """Runs operations on tensors of `device`."""

    def __init__(self, device: TorchStreams) -> None:
        self.device = device
        """Where work is queued."""

    def dispatch(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Queue `func`; its results are tensors of poison until it has run."""
        traits = traits_of(func)
        if traits.composite:
            return func.decompose(*args, **kwargs)
        if func is aten.copy_.default:
            return self.copy(*args, **kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
        if traits.view:
            return self._view(func, args, kwargs)
        if self._must_wait(func, traits, args, kwargs):
            return self._waited(func, traits, args, kwargs)
        return self._queued(func, traits, args, kwargs)

    def function(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call `func`; what C++ made on the host beside a tensor of ours comes to the device."""
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and not isinstance(result, DeviceTensor):
            given = {id(leaf) for leaf in leaves_in([args, kwargs])}
            return result if id(result) in given else self.to_device(result, non_blocking=False)
        return result

    def new(self, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> DeviceTensor:
        """A tensor of poison."""
        return made(place_for(self.device, shape, strides, dtype), self)

    def launch(
        self, work: Callable[[], object], reads: Sequence[Place], writes: Sequence[Place], label: str
    ) -> None:
        """Put `work` on the current stream."""
        accesses: list[Access] = []
        if self.device.trace is not None:
            for place in reads:
                accesses += place.accesses(write=False)
            for place in writes:
                accesses += place.accesses(write=True)
        self.device.launch(Launch(work=work, accesses=tuple(accesses), label=label))

    # what moves values is in `transfers`; here so that a tensor has one owner

    def copy(self, destination: Any, source: Any, non_blocking: bool = False) -> Any:
        """`destination.copy_(source)`, wherever either is."""
        return transfers.copy(self, destination, source, non_blocking)

    def to_device(self, host: torch.Tensor, *, non_blocking: bool) -> DeviceTensor:
        """A copy of a host tensor on the device."""
        return transfers.to_device(self, host, non_blocking)

    def to_host(self, tensor: Any, *, non_blocking: bool) -> torch.Tensor:
        """A copy on the host."""
        return transfers.to_host(self, tensor, non_blocking)

    def move(self, tensor: Any, other: Any) -> None:
        """Let `tensor` be where `other` is, as after `tensor.data = other`."""
        place = other.place
        with lasting():
            tensor.set_(
                place.raw.untyped_storage(), place.raw.storage_offset(), place.raw.shape, place.raw.stride()
            )
        tensor.place = place

    def record_stream(self, tensor: Any, stream: Any) -> None:
        """The block of `tensor` goes to others only behind what `stream` has when it is freed."""
        self.device.memory.used_by(tensor.place.block, stream.simulated)

    def _view(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        base = next(leaf for leaf in leaves_in([args, kwargs]) if isinstance(leaf, DeviceTensor))
        with lasting():
            views = func(*mapped(raw_of, args), **mapped(raw_of, kwargs))
        return mapped(lambda raw: made(base.place.viewed(raw), self), views)

    def _must_wait(self, func: Any, traits: Traits, args: Any, kwargs: dict[str, Any]) -> bool:
        """Whether the host must know values: for the result or its shape, or since C++ writes to the host."""
        if func is aten.index.Tensor:
            return any(index is not None and index.dtype in BOOLEAN for index in args[1])
        if traits.reads_values:
            return True
        given = [*zip(traits.names, args, strict=False), *kwargs.items()]
        targets = leaves_in([value for name, value in given if name in traits.written])
        return any(not isinstance(target, DeviceTensor) for target in targets)

    def _waited(self, func: Any, traits: Traits, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run `func` behind the current stream's work, and wait for it."""
        raw_args, raw_kwargs = mapped(raw_of, args), mapped(raw_of, kwargs)
        answers: list[Any] = []

        def work() -> None:
            with plain(), drawn(self.device.seed() if traits.seeded else None):
                answers.append(func(*raw_args, **raw_kwargs))

        self.launch(work, places_in([args, kwargs]), (), str(func))
        self.device.current().synchronize()
        if traits.written:
            return args[0]
        return mapped(lambda host: self.to_device(host, non_blocking=True), answers[0])

    def _queued(self, func: Any, traits: Traits, args: Any, kwargs: dict[str, Any]) -> Any:
        given = [*zip(traits.names, args, strict=False), *kwargs.items()]
        writes = places_in([value for name, value in given if name in traits.written])
        seed = self.device.seed(kwargs.pop("generator", None)) if traits.seeded else None
        raw_args, raw_kwargs = mapped(operand, args), mapped(operand, kwargs)
        result, fresh = self._results(func, args, kwargs)
        if traits.empty:
            return result
        targets = [None if tensor is None else tensor.place.raw for tensor in fresh]

        def work() -> None:
            with plain(), drawn(seed):
                store(func(*raw_args, **raw_kwargs), targets)

        outs = [tensor.place for tensor in fresh if tensor is not None]
        reads = [] if traits.looks_only else places_in([args, kwargs])
        self.launch(work, reads, [*writes, *outs], str(func))
        return result

    def _results(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, list[DeviceTensor | None]]:
        """What the call returns, and for each tensor in it the one that is new, None for an argument."""
        outlines, given = outlines_of(func, args, kwargs)
        fresh: list[DeviceTensor | None] = []

        def settled(outline: Outline) -> Any:
            if outline.argument is None:
                new = self.new(outline.shape, outline.strides, outline.dtype)
                fresh.append(new)
                return new
            fresh.append(None)
            known = given[outline.argument]
            if tuple(known.shape) != outline.shape:  # an `out=` that had to grow
                self.move(known, self.new(outline.shape, outline.strides, outline.dtype))
            return known

        return mapped(settled, outlines, Outline), fresh


def raw_of(tensor: torch.Tensor) -> torch.Tensor:
    """The values of a tensor of ours; any other as it is."""
    return tensor.place.raw if isinstance(tensor, DeviceTensor) else tensor


def operand(tensor: torch.Tensor) -> torch.Tensor:
    """What queued work computes with: a host tensor may change afterwards, so it is copied now."""
    if isinstance(tensor, DeviceTensor):
        return tensor.place.raw
    with lasting():
        return tensor.clone()


def places_in(values: Any) -> list[Place]:
    """Places of the tensors of ours among `values`."""
    return [leaf.place for leaf in leaves_in(values) if isinstance(leaf, DeviceTensor)]


def store(result: Any, targets: Sequence[torch.Tensor | None]) -> None:
    """Write the tensors of `result` to where they belong; None is one that was written already."""
    for value, target in zip(leaves_in(result), targets, strict=True):
        if target is not None:
            target.copy_(value)
