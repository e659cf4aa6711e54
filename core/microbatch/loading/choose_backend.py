"""Which backend a step uses: the named one, or the one that owns the inputs.

Invariant: a named backend never falls back. For `auto` the answer is remembered per array type and device, so
a warm call costs one dictionary lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import flatten
from microbatch.extend.protocols import Backend
from microbatch.loading.plugins import Plugins

__all__ = ["BackendChoice"]


class BackendChoice:
    """Looks a backend up once per kind of input."""

    __slots__ = ("_known", "_last", "_named", "_plugins")

    def __init__(self, name: str, plugins: Plugins) -> None:
        self._plugins = plugins
        self._named = None if name == "auto" else plugins.backend(name)
        self._known: dict[tuple[type, str], Backend] = {}
        self._last = self._named

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Backend:
        """The backend for these arguments; raises BackendUnavailableError or UnknownNameError."""
        if self._named is not None:
            return self._named
        first = args[0] if args and is_array(args[0]) else None
        arrays = [first] if first is not None else _arrays(args, kwargs)
        key = (type(arrays[0]), str(getattr(arrays[0], "device", ""))) if arrays else (object, "")
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._plugins.backend_for(arrays)
        self._last = known
        return known

    def last(self) -> Backend:
        """The backend used last, or the one for a call without arrays."""
        return self._last or self._plugins.backend_for([])


def _arrays(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    try:
        leaves, _ = flatten((args, dict(kwargs)))
    except RecursionError:  # the tree contains itself; binding refuses it with the words for it
        return []
    return [leaf for leaf in leaves if is_array(leaf)]
