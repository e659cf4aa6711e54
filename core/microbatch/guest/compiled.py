"""Whether a function is compiled anew for each size of its arguments, as far as can be seen.

Invariant: nothing is called or imported. What torch and jax compile is told by what their functions have:
the function itself, one that it visibly refers to, or a module inside of it.
"""

from __future__ import annotations

import functools
from typing import Any

from microbatch.arrays.hidden_rows import is_module
from microbatch.options.raised import Harmless, class_module, class_name
from microbatch.proof.reachable import reachable


def is_compiled(function: Any) -> bool:
    """Whether `function`, or something that it visibly refers to, is."""
    with Harmless():
        inner = _unpacked(function)
        return any(map(_is_one, [inner, *(value for _, value, _ in reachable(inner))]))
    return False


def _unpacked(function: Any) -> Any:
    """What a partial is made of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_one(value: Any) -> bool:
    if is_module(value):
        return any(map(_is_compiled_module, value.modules()))
    kind = type(value)
    if class_module(kind).partition(".")[0] in ("jax", "jaxlib"):
        return class_name(kind) == "PjitFunction"
    return callable(value) and getattr(value, "_torchdynamo_orig_callable", None) is not None


def _is_compiled_module(module: Any) -> bool:
    """By `torch.compile(module)`, or in place by `module.compile()`."""
    return (
        class_name(type(module)) == "OptimizedModule" or vars(module).get("_compiled_call_impl") is not None
    )
