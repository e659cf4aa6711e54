"""Container types of others, made known to optree so that their leaves are cut and put together.

Invariant: a container's module is never imported here; a type is registered once somebody else imported it,
and once only, however often this is asked.
"""

from __future__ import annotations

import sys
from typing import Any

import optree

from microbatch.extend.hookspecs import PROJECT
from microbatch.extend.records import ContainerInfo

__all__ = ["register"]


def register(info: ContainerInfo) -> str:
    """Register one container if its module is there; returns what is wrong, empty when nothing is."""
    module, _, attribute = info.type.partition(":")
    found: Any = sys.modules.get(module)
    unflatten: Any = info.unflatten  # optree types it narrower than it calls it
    if found is None:
        return ""
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
        if optree.register_pytree_node.get(found, namespace=PROJECT) is None:
            optree.register_pytree_node(found, info.flatten, unflatten, namespace=PROJECT)
    except Exception as error:  # noqa: BLE001 - missing name, not a class, taken meanwhile by another thread
        return f"container {info.type} cannot be registered: {type(error).__name__}: {error}"
    return ""
