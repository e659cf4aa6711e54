"""Where each option of a wrapper comes from, and what it is.

Invariant: argument > `with microbatch.config()` > environment > file > default, field by field. A source is
checked whole, also where a stronger one overrules it: a misspelt key must not lie in wait. Resolution happens
once, when a wrapper is built; changing the environment later changes no wrapper that exists.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from microbatch.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigError,
    MicrobatchError,
    UnknownNameError,
    near_match,
    warn,
)
from microbatch.options import file as config_file
from microbatch.options.field_words import unknown_option
from microbatch.options.fields import FIELDS, OPTIONAL, UBatchConfig, checked
from microbatch.options.unknown_variables import variable, warn_of_unknown_variables

KNOWN = (*FIELDS, "ambient", "config", "layout", "progress")
"""What `wrap` takes, for near matches."""
DEFAULTS: Mapping[str, Any] = MappingProxyType({field.name: field.default for field in fields(UBatchConfig)})

Layer = Mapping[str, tuple[Any, str]]
"""Field to (value, where it came from)."""

_scoped: ContextVar[Mapping[str, Any]] = ContextVar("microbatch_config", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The options that count, and where each came from."""

    config: UBatchConfig
    """The values."""
    sources: Mapping[str, str]
    """Field to `argument`, `config()`, `environment MICROBATCH_...`, `microbatch.toml:3` or `default`; and
    `pickle` where it was set in the process that has pickled it."""

    def __reduce__(self) -> Any:
        """What was set, by field: libraries that hash a pickle (Dask, datasets, joblib) see the options, and
        not the line of a file or the variable that they came from."""
        chosen = ((name, getattr(self.config, name)) for name in FIELDS if self.explicit(name))
        return _resolved_again, (_interned(tuple(chosen)),)

    def explicit(self, field: str) -> bool:
        """Whether the user set this field anywhere; what was learned never overrules it."""
        if field not in self.sources:
            raise UnknownNameError(f"there is no option {field!r};{near_match(field, self.sources)}")
        return self.sources[field] != "default"


def _interned(value: Any) -> Any:
    """With equal texts as one object: a pickle tells one that occurs twice from two that are equal."""
    if type(value) is tuple:
        return tuple(map(_interned, value))
    return sys.intern(value) if type(value) is str else value


def _resolved_again(chosen: tuple[tuple[str, Any], ...]) -> Resolved:
    sources = dict.fromkeys(DEFAULTS, "default") | {name: "pickle" for name, _ in chosen}
    return Resolved(config=UBatchConfig(**dict(chosen)), sources=MappingProxyType(sources))


def config(**options: Any) -> AbstractContextManager[None]:
    """Set options for the wrappers built inside the `with` block, in this thread or task.

    Stronger than environment and file, weaker than arguments; an inner block goes before an outer one. Raises
    at once for an unknown or impossible value, as the arguments of `wrap` do.
    """
    return _scope(_checked_arguments(options))


def resolve(explicit: UBatchConfig | None = None, **options: Any) -> Resolved:
    """Put all sources together.

    Of `explicit`, the fields that differ from the class's defaults count as arguments; `options` go before
    it. Raises ArgumentTypeError, ArgumentValueError or UnknownNameError for arguments, ConfigError for the
    other sources, with file and line or the variable.
    """
    if explicit is not None and not isinstance(explicit, UBatchConfig):
        kind = type(explicit).__name__
        raise ArgumentTypeError(f"config is {kind}; pass a UBatchConfig, or the options themselves")
    merged: dict[str, tuple[Any, str]] = {name: (value, "default") for name, value in DEFAULTS.items()}
    merged |= _file_layer()
    merged |= _environment_layer()
    merged |= {name: (value, "config()") for name, value in _scoped.get().items()}
    arguments = _changed(explicit) | _checked_arguments(options)
    return _resolved(merged | {name: (value, "argument") for name, value in arguments.items()})


@contextmanager
def _scope(values: Mapping[str, Any]) -> Iterator[None]:
    token = _scoped.set(MappingProxyType({**_scoped.get(), **values}))
    try:
        yield
    finally:
        _scoped.reset(token)


def _changed(explicit: UBatchConfig | None) -> dict[str, Any]:
    values = {} if explicit is None else {name: getattr(explicit, name) for name in FIELDS}
    return {name: value for name, value in values.items() if value != DEFAULTS[name]}


def _checked_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in DEFAULTS:
            raise UnknownNameError(
                f"there is no option {name!r};{unknown_option(name, KNOWN, options[name])}"
            )
    return {name: checked(name, value) for name, value in options.items()}


def _environment_layer() -> Layer:
    """Variables that are set and not empty; each is read as its field is typed."""
    warn_of_unknown_variables(os.environ)
    layer = {}
    for name in FIELDS:
        if text := os.environ.get(variable(name), "").strip():
            source = f"environment {variable(name)}"
            layer[name] = (_valid(name, _from_text(name, text), source), source)
    return layer


def _from_text(name: str, text: str) -> Any:
    """The value that `text` means for a field; a text that means none stays, to be refused by name."""
    lowered, hint = text.lower(), get_type_hints(UBatchConfig)[name]
    if name in OPTIONAL and lowered == "none":
        return None
    if name in ("memory_limit", "graph_sizes", "policy_options") or hint in (str, str | None):
        return text
    import msgspec  # 4 ms, and most processes set no variable

    if hint is bool:
        lowered = {"on": "true", "yes": "true", "off": "false", "no": "false"}.get(lowered, lowered)
    try:
        return msgspec.convert(lowered, hint, strict=False)
    except msgspec.ValidationError:
        return text


def _file_layer() -> Layer:
    file = _file()
    if file is None:
        return {}
    layer = {}
    for name, value in file.values.items():
        source = file.place(str(name))
        if name not in DEFAULTS:
            raise ConfigError(f"{source}: unknown key {name!r};{unknown_option(name, FIELDS, value)}")
        meant = _valid(name, None if name in OPTIONAL and value == "none" else value, source)
        layer[name] = (_history(file, meant, source) if name == "history" else meant, source)
    return layer


def _file() -> config_file.ConfigFile | None:
    path = os.environ.get(config_file.VARIABLE, "").strip()
    if path:
        return config_file.named(Path(path))
    try:
        start = Path.cwd()
    except OSError:  # the working directory was removed
        return None
    return config_file.find(start)


def _history(file: config_file.ConfigFile, value: str | None, source: str) -> str | None:
    """A path in a file is relative to it.

    In a file that was found, it may not leave the file's folder, and counts only where nobody else may have
    written it.
    """
    if value is None:
        return None
    why = config_file.why_distrusted(file.path) if file.found else ""
    if why:
        remedy = f"set {variable('history')} or pass history= to use one"
        warn(f"{source}: history {value!r} is not used, as this file {why}; {remedy}", RuntimeWarning)
        return None
    folder = os.path.realpath(file.path.parent)
    target = os.path.realpath(os.path.join(folder, value))
    if file.found and not Path(target).is_relative_to(folder):
        remedy = f"set {variable('history')} or pass history= for a place elsewhere"
        raise ConfigError(f"{source}: history {value!r} is outside the folder of this file; {remedy}")
    return target


def _valid(name: str, value: Any, source: str) -> Any:
    try:
        return checked(name, value)
    except MicrobatchError as error:
        raise ConfigError(f"{source}: {error}") from None


def _resolved(merged: Mapping[str, tuple[Any, str]]) -> Resolved:
    sources = {name: source for name, (_, source) in merged.items()}
    try:
        values = UBatchConfig(**{name: value for name, (value, _) in merged.items()})
    except ArgumentValueError as error:  # single values were checked; this is one against another
        where = f"num_ubatches from {sources['num_ubatches']}, max_ubatches from {sources['max_ubatches']}"
        raise ConfigError(f"{error} ({where})") from None
    return Resolved(config=values, sources=MappingProxyType(sources))
