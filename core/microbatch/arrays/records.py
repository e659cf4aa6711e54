"""Opening objects that store their parts by name: dataclasses, attrs, and mappings of any type.

Invariant: no code of the class is run, neither its constructor nor `__post_init__`: the copy stores what the
original stored, so that each part has what the whole call would have seen. Rejected: calling the constructor,
since one that converts or adds to its arguments would do so twice.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from microbatch.arrays.looks import is_array
from microbatch.arrays.row_types import has_rows
from microbatch.arrays.stored import stored_in

Opened = tuple[tuple[Any, ...], Hashable, tuple[Any, ...]]
"""Children, what is needed to build it again, and how each child is called."""


class Way(Struct, frozen=True):
    """How the objects of one class are opened and built."""

    flatten: Callable[[Any], Opened]
    """object -> children, auxiliary data, entries."""
    unflatten: Callable[[Any, tuple[Any, ...]], Any]
    """(auxiliary data, children) -> object."""
    is_record: bool = False
    """Whether it is an object that functions may know by identity, and is opened only where it is cut."""


def way_into(kind: type) -> Way | None:
    """How `kind` is opened, by what it is; None for what is no container."""
    if kind is MappingProxyType:
        return Way(_open_proxy, lambda keys, values: MappingProxyType(dict(zip(keys, values, strict=True))))
    if issubclass(kind, (dict, UserDict)):
        return mapping_way(kind)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__"):
        return record_way(kind)
    return None


def record_way(kind: type) -> Way | None:
    """By the attributes that are stored; None where no empty one can be made, or where it is a module."""
    if callable(getattr(kind, "named_modules", None)) or not _is_plain(kind):
        return None

    def unflatten(names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
        return _with(object.__new__(kind), zip(names, values, strict=True))

    return Way(_open_record, unflatten, is_record=True)


def mapping_way(kind: type) -> Way:
    """By its items, and the attributes beside them."""

    def unflatten(kept: _Mapping, values: tuple[Any, ...]) -> Any:
        items = dict(zip(kept.keys, values, strict=False))
        made: Any = kind.__new__(kind)  # type: ignore[call-overload]
        if issubclass(kind, UserDict):
            made.data = items
        else:
            _fill(made, items, kept.factory)
        if kept.own_attributes:  # its attributes are its items
            made.__dict__ = made
        _with(made, zip(kept.names, values[len(kept.keys) :], strict=True))
        return _with(made, ((name, items[key]) for name, key in kept.same))

    return Way(_open_mapping, unflatten)


class _Mapping(Struct, frozen=True):
    """What a mapping is beside the values in it."""

    keys: tuple[Hashable, ...]
    names: tuple[str, ...] = ()
    """Attributes beside the items."""
    same: tuple[tuple[str, Hashable], ...] = ()
    """Attributes that are one of the items, with its key."""
    factory: Any = None
    own_attributes: bool = False


def _open_mapping(node: Any) -> Opened:
    items = node.data if isinstance(node, UserDict) else node
    keys = tuple(OrderedDict.keys(items) if isinstance(items, OrderedDict) else dict.keys(items))
    values = tuple(map(items.__getitem__ if type(items) is dict else _getter(items), keys))
    factory = node.default_factory if isinstance(node, defaultdict) else None
    if getattr(node, "__dict__", None) is node:
        return values, _Mapping(keys, factory=factory, own_attributes=True), keys
    beside = {name: value for name, value in stored_in(node) if value is not items}
    by_id = {id(value): key for key, value in zip(keys, values, strict=True)}
    same = tuple([(name, by_id[id(value)]) for name, value in beside.items() if _may_be_cut(value, by_id)])
    aliases = {name for name, _ in same}
    names = tuple([name for name in beside if name not in aliases])
    kept = _Mapping(keys, names, same, factory)
    return (*values, *(beside[name] for name in names)), kept, (*keys, *names)


def _may_be_cut(value: Any, items: Mapping[int, Hashable]) -> bool:
    """Whether it is one of the items, and no plain value, of which there may be one object in many places."""
    return id(value) in items and (is_array(value) or has_rows(value))


def _getter(items: Any) -> Callable[[Any], Any]:
    return lambda key: dict.__getitem__(items, key)


def _fill(made: Any, items: Mapping[Any, Any], factory: Any) -> None:
    put: Any = OrderedDict.__setitem__ if isinstance(made, OrderedDict) else dict.__setitem__
    if isinstance(made, defaultdict):
        made.default_factory = factory
    for key, value in items.items():
        put(made, key, value)


def _open_record(node: Any) -> Opened:
    stored = dict(stored_in(node))
    names = tuple(stored)
    return tuple(stored.values()), names, names


def _open_proxy(node: Any) -> Opened:
    keys = tuple(node)
    return tuple([node[key] for key in keys]), keys, keys


def _with(made: Any, values: Iterator[tuple[str, Any]]) -> Any:
    """The object with these attributes, frozen or not."""
    for name, value in values:
        object.__setattr__(made, name, value)
    return made


def _is_plain(kind: type) -> bool:
    """Whether `object` can make an empty one, so that it has no contents but its attributes."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True
