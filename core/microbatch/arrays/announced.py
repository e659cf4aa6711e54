"""Types that plugins announced by name, found among the bases of a class.

Invariant: nothing is imported. A name stands for a class only once the module that has it was imported by
somebody, so that whoever never uses a library pays nothing for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

What = TypeVar("What")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement(Generic[What]):
    """What was announced for one class."""

    type: str
    """`package.module:Class`."""
    what: What
    """What stands for it."""
    subclasses: bool
    """Whether it is for classes derived from it, too."""


def with_these(
    known: tuple[Announcement[What], ...], announced: Iterable[Announcement[What]]
) -> tuple[Announcement[What], ...]:
    """What was known, and `announced` in place of what was known for the same classes; `known` where it has
    them all."""
    new = tuple(each for each in announced if each not in known)
    names = {each.type for each in new}
    return (*(each for each in known if each.type not in names), *new) if new else known


def announced_for(kind: type, announced: tuple[Announcement[What], ...]) -> What | None:
    """What was announced for `kind`, or else for its nearest base; None where nothing was."""
    for base in kind.__mro__:
        for each in announced:
            if (base is kind or each.subclasses) and class_called(each.type) is base:
                return each.what
    return None


def class_called(name: str) -> Any:
    """The class at `package.module:Class`; None while its module was not imported, or where it is not."""
    module, _, attribute = name.partition(":")
    try:
        return reduce(getattr, attribute.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None
