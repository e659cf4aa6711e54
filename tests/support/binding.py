"""The batch in the arguments of one call, as a step finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microbatch.binding.batch import Batch
from microbatch.binding.binder import Binder
from microbatch.binding.rules import Layout
from microbatch.extend.device import device_of
from microbatch.extend.protocols import Backend


def bind(
    layout: Layout | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    backend: Backend,
    names: Sequence[str] = (),
    strict: bool = False,
) -> Batch:
    """The batch in the arguments of one call; `names` are the parameter names. Errors as of `Binder.bind`.

    `strict` binds as where nothing is proven afterwards.
    """
    device = device_of(backend)
    return Binder(layout=layout, names=tuple(names), device=device, strict=strict).bind(args, kwargs)
