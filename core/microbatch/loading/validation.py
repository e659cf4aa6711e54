"""Whether a record that a plugin announced is what it must be.

Invariant: nothing of a record is used before it passed here. Type checkers cannot see through a hook, so the
types that the fields declare are checked once, when the record arrives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from microbatch.extend.records import API
from microbatch.options.messages import shown

_NAME = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")

_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "name": (lambda value: _matches(_NAME, value), "lower-case words joined by '-', '.' or '_'"),
        "load": (lambda value: _matches(_TARGET, value), "'package.module:Class'"),
        "type": (lambda value: _matches(_TARGET, value), "'package.module:Class'"),
        "probe": (callable, "a function without arguments"),
        "flatten": (lambda value: value is None or callable(value), "a function of the container"),
        "unflatten": (
            lambda value: value is None or callable(value),
            "a function of auxiliary data and children",
        ),
        "subclasses": (lambda value: type(value) is bool, "True or False"),
        "priority": (lambda value: type(value) is int, "an integer"),
        "modules": (lambda value: _all_text(value), "a tuple of module names"),
        "operations": (lambda value: value == "" or _matches(_MODULE, value), "'package.module'"),
        "install": (lambda value: isinstance(value, str), "text"),
        "summary": (lambda value: isinstance(value, str), "text"),
    }
)


def faults(record: Any, kind: type[Any]) -> str:
    """What is wrong with `record`, which should be a `kind` of this contract number; often empty."""
    if not isinstance(record, kind):
        return f"announced {shown(record)} ({type(record).__name__}); announce {kind.__name__}"
    if record.api != API:
        return (
            f"{_called(record)} speaks plugin API {shown(record.api)}, this is {API}; update the older side"
        )
    for name, (fits, wanted) in _CHECKS.items():
        if hasattr(record, name) and not fits(getattr(record, name)):
            return f"{_called(record)}: {name} must be {wanted}, got {shown(getattr(record, name))}"
    return ""


def _called(record: Any) -> str:
    return shown(getattr(record, "name", getattr(record, "type", record)))


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _all_text(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(entry, str) and entry for entry in value)
