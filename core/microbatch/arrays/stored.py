"""The attributes that an object stores: in its dictionary and in the slots of its classes.

Invariant: no property is run, since running one may compute or change something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def stored_in(node: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of each."""
    yield from list(getattr(node, "__dict__", {}).items())
    for kind in type(node).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            hidden = slot.startswith("__") and not slot.endswith("__")
            name = f"_{kind.__name__.lstrip('_')}{slot}" if hidden else slot
            if name not in ("__dict__", "__weakref__") and hasattr(node, name):
                yield name, getattr(node, name)
