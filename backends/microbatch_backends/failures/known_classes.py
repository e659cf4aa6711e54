"""What the table knows of a class: of an error's, or of one that a text names.

Invariant: a row is asked only for the classes that it names. The rows of RuntimeError are asked for it, for
MemoryError, and for every class of a package that is in the table. A class of the user's that derives from
RuntimeError is the user's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import Family
from microbatch_backends.failures.table import FAMILIES

__all__ = ["Known", "carries", "known_as", "known_by_name"]

CARRIERS = frozenset({"concurrent", "multiprocessing", "ray", "torch"})
"""Packages with errors that carry the text of another error."""
PACKAGES = CARRIERS | {name.partition(".")[0] for row in FAMILIES for name in row.classes if "." in name}
RAISED_AS_THEY_ARE = frozenset({"RuntimeError", "ValueError", "OverflowError"})
"""Builtins that libraries raise themselves. A class that derives from one of them is another class."""


@dataclass(frozen=True, slots=True)
class Known:
    """The rows of one class."""

    coded: MappingProxyType[str, FailureKind]
    """Meaning of each code, in lower case."""
    texts: tuple[tuple[tuple[str, ...], FailureKind], ...]
    """The pieces of each text around its `*`, in lower case, and its meaning; in the order they are asked."""
    firsts: tuple[str, ...]
    """The first piece of each text: most messages begin with none of them."""
    numbered: tuple[Family, ...]
    """Rows with numbers."""
    itself: FailureKind | None
    """Meaning of the class alone."""


def _known(rows: Iterable[Family]) -> Known:
    texts = tuple((tuple(text.lower().split("*")), row.kind) for row in rows for text in row.texts)
    bare = [row.kind for row in rows if not (row.texts or row.codes or row.numbers)]
    return Known(
        coded=MappingProxyType({code.lower(): row.kind for row in rows for code in row.codes}),
        texts=texts,
        firsts=tuple(pieces[0] for pieces, _ in texts),
        numbered=tuple(row for row in rows if row.numbers),
        itself=bare[0] if bare else None,
    )


def _by_class() -> MappingProxyType[str, Known]:
    rows: defaultdict[str, list[Family]] = defaultdict(list)
    for row in FAMILIES:
        for name in row.classes:
            rows[name].append(row)
    return MappingProxyType({name: _known(found) for name, found in rows.items()})


BY_CLASS = _by_class()


def known_as(kind: type) -> tuple[Known, ...]:
    """The rows of an error of this class, those of its most exact base first; empty where there are none."""
    names = [
        name for base in kind.__mro__ if (name := _named(base)) not in RAISED_AS_THEY_ARE or base is kind
    ]
    if (_package(kind) in PACKAGES or "MemoryError" in names) and "RuntimeError" not in names:
        names.append("RuntimeError")
    return tuple(BY_CLASS[name] for name in names if name in BY_CLASS)


def known_by_name(name: str) -> tuple[Known, ...]:
    """The rows of a class that a text names, with its module or without."""
    package, dot, _ = name.partition(".")
    last = name.rpartition(".")[2]
    if dot:
        found = [BY_CLASS[full]] if (full := f"{package}.{last}") in BY_CLASS else []
    else:
        found = [known for each, known in BY_CLASS.items() if each.rpartition(".")[2] == last]
    if (dot and package in PACKAGES) or (found and last not in RAISED_AS_THEY_ARE):
        found.append(BY_CLASS["RuntimeError"])
    return tuple(found)


def carries(name: str) -> bool:
    """Whether an error of a class that a text names may carry the text of another error."""
    return BY_CLASS["RuntimeError"] in known_by_name(name)


def _named(kind: type) -> str:
    """The class as rows name it."""
    package = _package(kind)
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def _package(kind: type) -> str:
    module = kind.__module__
    return module.partition(".")[0] if isinstance(module, str) else ""
