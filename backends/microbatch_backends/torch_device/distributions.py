"""Opening torch's distributions: their parameters have a row each, and so has the distribution.

Invariant: what is built has the parameters of its parts and the batch shape that follows from them; its
constructor, which may derive some parameters from others, is not run again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch.distributions import Distribution


def flatten(distribution: Any) -> tuple[tuple[Any, ...], Hashable, tuple[str, ...]]:
    """Its tensors and inner distributions; without a batch it is one thing, and all of it is kept."""
    stored = vars(distribution)
    names = tuple([name for name, value in stored.items() if isinstance(value, (torch.Tensor, Distribution))])
    rest = _Rest(type(distribution), {name: stored[name] for name in stored if name not in names})
    return tuple([stored[name] for name in names]), (names, rest), names


def unflatten(kept: Any, parameters: Any) -> Any:
    """One of the same class with these parameters."""
    names, rest = kept
    made = object.__new__(rest.kind)
    vars(made).update(rest.stored)
    vars(made).update(zip(names, parameters, strict=True))
    first = next(iter(parameters), None)
    sizes: Any = getattr(first, "batch_shape", None) or getattr(first, "shape", ())
    if len(rest.batch) and len(sizes):
        vars(made)["_batch_shape"] = torch.Size((sizes[0], *rest.batch[1:]))
    return made


class _Rest:
    """What a distribution is beside its parameters; compared without the number of rows."""

    __slots__ = ("batch", "kind", "stored")

    def __init__(self, kind: type, stored: dict[str, Any]) -> None:
        self.kind = kind
        self.stored = stored
        self.batch = tuple(stored.get("_batch_shape", ()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rest) and self._alike() == other._alike()

    def __hash__(self) -> int:
        return hash((self.kind, self.batch[1:]))

    def _alike(self) -> tuple[Any, ...]:
        kept = {name: value for name, value in self.stored.items() if name != "_batch_shape"}
        return self.kind, self.batch[1:], kept
