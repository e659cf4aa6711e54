"""Tensors among the arguments of an operation, which are tensors, lists of them, and other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def mapped(function: Callable[[Any], Any], value: Any, kind: type = torch.Tensor) -> Any:
    """`value` with each tensor, or object of `kind`, replaced by what `function` makes of it."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, (list, tuple)):
        items = [mapped(function, item, kind) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: mapped(function, item, kind) for key, item in value.items()}
    return value


def leaves_in(value: Any) -> list[torch.Tensor]:
    """The tensors in `value`, in order."""
    found: list[torch.Tensor] = []
    mapped(found.append, value)
    return found
