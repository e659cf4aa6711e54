"""Yield points in code that torch compiles: the compiler finds an operation in the place of the function.

Invariant: torch is not imported here, and calling the function itself costs nothing more. What torch's
compiler reads is an attribute of the function: what to trace in its place. That calls the operation of the
same name, `torch.ops.microbatch.dbo_yield`, which the backend for torch defines before the first one is
traced, whichever was imported first. A torch that does not know the attribute refuses the function, as one
that it cannot trace.

Rejected: asking `torch.compiler.is_compiling()` in each function (three times the cost of a yield outside a
step), and defining the operations when a backend is loaded (a model that is compiled and called before the
first step would be refused).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from microbatch.loading.plugins import default_plugins

Function = TypeVar("Function", bound=Callable[..., None])


def as_operation(function: Function) -> Function:
    """Decorate a yield point, which takes a label or nothing, so that it can be called in compiled code."""
    name = function.__name__

    def traced(*label: str, **named: str) -> None:
        define_operations()
        getattr(sys.modules["torch"].ops.microbatch, name)(*label, **named)

    vars(function)["_torchdynamo_inline"] = traced
    return function


def define_operations() -> bool:
    """Let the backend for torch define the operations; the compiler calls this, and traces nothing of it."""
    default_plugins().define_operations("torch")
    return True


vars(define_operations)["_dynamo_marked_constant"] = True


def operation_names(module: Any) -> list[str]:
    """The functions of `module` that can be called in compiled code."""
    return [name for name, found in vars(module).items() if hasattr(found, "_torchdynamo_inline")]
