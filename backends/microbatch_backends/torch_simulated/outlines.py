"""Shapes, strides and dtypes of what an operation returns, without computing it.

Invariant: the answer follows from the shapes, strides and dtypes of the tensors given and from the values of
everything else; so it is worked out once for each (torch's `meta` kernels take up to 2 ms, some are Python).
An operation without a `meta` kernel is run once on zeros.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch

from microbatch_backends.torch_simulated.arguments import mapped
from microbatch_backends.torch_simulated.plain import plain
from microbatch_backends.torch_simulated.randomness import drawn
from microbatch_backends.torch_simulated.schemas import traits_of


class Outline(NamedTuple):
    """A tensor without values."""

    argument: int | None
    """Which of the tensors given it is; None for a new one."""
    shape: tuple[int, ...]
    """Its shape."""
    strides: tuple[int, ...]
    """Its strides, in elements."""
    dtype: torch.dtype
    """Its dtype."""


class _Value(NamedTuple):
    """What is no tensor; 1, 1.0 and True are three values."""

    kind: type
    value: Any


def outlines_of(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, list[torch.Tensor]]:
    """What `func` returns, with an `Outline` for each tensor, and the tensors that it is given, by number.

    Raises what the operation raises for such arguments.
    """
    given: list[torch.Tensor] = []
    frozen = _frozen((list(args), kwargs), given)
    return _worked_out(func, frozen), given


def _frozen(value: Any, given: list[torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        place = next((number for number, other in enumerate(given) if other is value), len(given))
        given.extend([value] if place == len(given) else [])
        return Outline(place, tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, (list, tuple)):
        return type(value), tuple([_frozen(item, given) for item in value])
    if isinstance(value, dict):
        return dict, tuple([(key, _frozen(item, given)) for key, item in value.items()])
    return _Value(type(value), value)


@lru_cache(maxsize=1 << 14)
def _worked_out(func: Any, frozen: Any) -> Any:
    stands: dict[int, torch.Tensor] = {}
    with plain():
        args, kwargs = _thawed(frozen, stands)
        result = _called(func, args, kwargs)
    numbers = {id(stand): number for number, stand in stands.items()}

    def outline(tensor: torch.Tensor) -> Outline:
        return Outline(numbers.get(id(tensor)), tuple(tensor.shape), tensor.stride(), tensor.dtype)

    return mapped(outline, result)


def _thawed(frozen: Any, stands: dict[int, torch.Tensor]) -> Any:
    if isinstance(frozen, Outline):
        number = frozen.argument
        assert number is not None
        if number not in stands:
            stands[number] = torch.empty_strided(
                frozen.shape, frozen.strides, dtype=frozen.dtype, device="meta"
            )
        return stands[number]
    if isinstance(frozen, _Value):
        return frozen.value
    kind, items = frozen
    if kind is dict:
        return {key: _thawed(item, stands) for key, item in items}
    return kind([_thawed(item, stands) for item in items])


def _called(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    on_meta = kwargs | ({"device": "meta"} if "device" in traits_of(func).names else {})
    try:
        return func(*args, **on_meta)
    except NotImplementedError:
        with drawn(0):
            return func(*mapped(_zeros, args), **mapped(_zeros, kwargs))


def _zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tensor.shape, dtype=tensor.dtype)
