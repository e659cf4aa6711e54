"""One text of a real library: what was raised, what it said, where it was found, what it means."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from microbatch.extend.records import FailureKind

OOM, SIZE, SUSPECT, DEAD, OTHER = (
    FailureKind.OOM,
    FailureKind.SIZE,
    FailureKind.SUSPECT,
    FailureKind.DEAD,
    FailureKind.OTHER,
)


@dataclass(frozen=True, slots=True)
class RealText:
    """A failure as it was seen, by name, so that no framework is needed to raise it."""

    kind: FailureKind
    """What `classify` must say."""
    raised: str
    """The class: a builtin, or `module.Class < Base`, and after a bar numbers that it holds."""
    text: str
    """The message."""
    source: str
    """Repository and path, or report, or `seen` with the version."""

    def made(self) -> Exception:
        """The error, of a class with the same name, module and builtin base."""
        name, _, numbers = self.raised.partition(" | ")
        kind = class_named(name)
        attribute, _, number = numbers.partition("=")
        if issubclass(kind, OSError) and attribute == "errno":
            return kind(int(number), self.text)
        return kind_with(kind, attribute, number)(self.text) if numbers else kind(self.text)


def class_named(raised: str) -> type[Exception]:
    """The class for `module.Class < Base`, or the builtin."""
    path, _, base = raised.partition(" < ")
    found = getattr(builtins, base or path)
    assert issubclass(found, Exception)
    if not base:
        return found
    module, _, name = path.rpartition(".")
    return type(name, (found,), {"__module__": module})


def kind_with(kind: type[Exception], attribute: str, number: str) -> type[Exception]:
    """The same class, each of whose errors has the number."""
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, attribute: int(number)})
