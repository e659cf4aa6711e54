"""What runs on the rows: a function, a wrapper, or an object that can be called.

Invariant: nothing is called here but `eval()` of a torch module, which has to answer as it does when it is
used and not as when it is trained; a module also says which backend its rows must be of. Core imports no
torch: a module is known by the name of its base class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microbatch.binding.call import check_runnable, parameter_names
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentValueError
from microbatch.files.inputs import Inputs
from microbatch.options.fields import UBatchConfig
from microbatch.wrapper import UBatchWrapper

MODULE = ("torch.nn.modules.module", "Module")
"""Where torch's modules come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What runs on the rows."""

    runnable: Callable[..., Any]
    """The function or module object; of a wrapper, what it wraps."""
    config: UBatchConfig | None = None
    """Options of the wrapper, if it was one."""
    layout: Layout | None = None
    """Layout of the wrapper, if it was one."""
    parameters: tuple[str, ...] = ()
    """Names of the positional parameters."""
    name: str = ""
    """As it was written."""
    backend: str | None = None
    """The backend that it needs, where it says so."""


def target_of(found: Any, name: str = "") -> Target:
    """The target that `found` is. Raises ArgumentTypeError for what can never run as a step."""
    config = layout = None
    if isinstance(found, UBatchWrapper):
        config, layout, found = found.microbatch.options, found.microbatch.layout, found.unwrap()
    check_runnable(found)
    is_module = any((base.__module__, base.__name__) == MODULE for base in type(found).__mro__)
    if is_module:
        found.eval()
    return Target(
        runnable=found,
        config=config,
        layout=layout,
        parameters=parameter_names(found),
        name=name or _name_of(found),
        backend=_backend_of(found) if is_module else None,
    )


def _backend_of(module: Any) -> str:
    """Of the device that its parameters are on."""
    first = next(iter(module.parameters()), None)
    return "torch-cpu" if first is None else f"torch-{first.device.type}"


def _name_of(found: Any) -> str:
    named = found if hasattr(found, "__qualname__") else type(found)
    return f"{named.__module__}:{named.__qualname__}"


def source_digest(found: Any) -> str:
    """Of the file that the function or class is written in; empty where there is none (compiled code)."""
    import hashlib  # 3 ms, for runs that may go on later

    while isinstance(found, functools.partial):
        found = found.func
    found = inspect.unwrap(found) if callable(found) else found
    try:
        place = inspect.getsourcefile(found if hasattr(found, "__qualname__") else type(found))
        return "" if place is None else hashlib.sha256(Path(place).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return ""


def check_arguments(target: Target, inputs: Inputs) -> None:
    """Raise ArgumentValueError where the arguments from a file are not those that the target takes."""
    try:
        signature = inspect.signature(getattr(target.runnable, "forward", target.runnable))
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs.args, **inputs.kwargs)
    except TypeError as error:
        count = len(inputs.args) + len(inputs.kwargs)
        held = f"{count} array{'s' if count > 1 else ''}" if inputs.layout is None else "one list of texts"
        raise ArgumentValueError(
            f"target {target.name}{signature} cannot be called with {held} from {inputs.path}: {error}; "
            "several "
            "arrays go into an .npz, by the names of the parameters"
        ) from None
