"""From `package.module:Class` to an object that has all that its protocol asks for.

Invariant: an object that leaves here has every member of its protocol. The check is made once, when the
object is built, so that a missing method is reported by name before a step and not as an AttributeError
inside one.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from microbatch.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    MicrobatchError,
    PluginError,
    PluginLoadError,
    UnknownNameError,
    near_match,
)
from microbatch.options.raised import described, text_of


def load_object(target: str) -> Any:
    """Import `package.module` or what `package.module:attribute` names.

    Raises what the import raises, AttributeError for a missing name.
    """
    module, _, attribute = target.partition(":")
    found: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def build(what: str, target: str, protocol: type, options: dict[str, Any], remedy: str = "") -> Any:
    """Call the class at `target` with `options` and check the result against `protocol`.

    `what` opens every error text, such as `backend 'npu' (acme-backend 1.2)`. Raises PluginLoadError with the
    cause chained, UnknownNameError, ArgumentTypeError and ArgumentValueError for options it does not take,
    PluginError naming missing members.
    """
    try:
        made = load_object(target)(**options)
        missing = missing_members(made, protocol)
    except (MicrobatchError, KeyboardInterrupt):
        raise
    except (TypeError, ValueError) as error:
        if not options:
            raise _failed(what, target, error, remedy) from error
        _refuse_unknown(what, target, options)
        text = f"{what} does not take the options {', '.join(sorted(options))} as given: {text_of(error)}"
        kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentValueError
        raise kind(text) from error
    except BaseException as error:
        raise _failed(what, target, error, remedy) from error
    if missing:
        raise PluginError(
            f"{what} does not implement {', '.join(missing)} of the protocol {protocol.__name__}; "
            f"add them to {target} (see microbatch.extend.protocols)"
        )
    return made


def _refuse_unknown(what: str, target: str, options: dict[str, Any]) -> None:
    """Raise UnknownNameError, with the near match, for an option that the constructor has no name for."""
    parameters = inspect.signature(load_object(target)).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise UnknownNameError(f"{what} has no option {name!r};{near_match(name, parameters)}") from None


def missing_members(made: object, protocol: type) -> tuple[str, ...]:
    """Names that `protocol` declares and `made` lacks, or has as something that cannot be called."""
    methods = {name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")}
    declared = methods | {name for name in inspect.get_annotations(protocol) if not name.startswith("_")}
    return tuple(
        name
        for name in sorted(declared)
        if not hasattr(made, name) or (name in methods and not callable(getattr(made, name)))
    )


def _failed(what: str, target: str, error: BaseException, remedy: str) -> PluginLoadError:
    hint = f"; {remedy}" if remedy else ""
    return PluginLoadError(f"{what} could not be loaded from {target}: {described(error)}{hint}")
