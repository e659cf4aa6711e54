"""What an operation of torch does with its arguments, read from its schema and tags once.

Invariant: an operation is a view only where its schema says that all it returns shares memory with an
argument, and that it writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

EMPTY = ("new_empty", "new_empty_strided", "empty_like")
"""Operations that make a tensor and leave its memory as it is."""
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is known of one operation."""

    composite: bool
    """Whether it is made of other operations."""
    view: bool
    """Whether what it returns is a view, and nothing is computed."""
    written: frozenset[str]
    """Names of the arguments that it writes."""
    names: tuple[str, ...]
    """Names of its arguments by place."""
    seeded: bool
    """Whether it draws random numbers."""
    looks_only: bool
    """Whether it reads no value of its arguments, only their shape and dtype."""
    empty: bool
    """Whether it writes nothing into what it returns."""
    reads_values: bool
    """Whether what it returns, or its shape, depends on values, so that the host must wait."""


@cache
def traits_of(func: Any) -> Traits:
    """The traits of `func`, an overload of `torch.ops`."""
    arguments, tags = func._schema.arguments, func.tags
    name = func._schema.name.partition("::")[2]
    written = {a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write}
    shared = [a.alias_info is not None and not a.alias_info.is_write for a in func._schema.returns]
    return Traits(
        composite=bool(func.has_kernel_for_dispatch_key(COMPOSITE)),
        view=bool(shared) and all(shared) and not written,
        written=frozenset(written),
        names=tuple(a.name for a in arguments),
        seeded=torch.Tag.nondeterministic_seeded in tags,
        looks_only=name.startswith("new_") or name.endswith("_like"),
        empty=name in EMPTY,
        reads_values=torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags,
    )
