"""Errors whose classes misbehave when somebody looks at them, drawn.

Invariant: what a class answers wrongly is all that is drawn; Python itself raises and catches each of them as
any other error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

HOOKS = (
    "__str__", "__repr__", "__format__", "__bool__", "__len__", "__eq__", "__ne__", "__hash__", "add_note",
    "with_traceback", "__setattr__", "__getattribute__",
)  # fmt: skip
"""Methods that may be asked of an error."""
PLACES = (
    "__class__", "__notes__", "__traceback__", "__cause__", "__context__", "__suppress_context__", "__dict__",
    "args", "status", "errno", "error_code", "ubatch_errors",
)  # fmt: skip
"""What may be looked up in one."""
RAISED = (SystemExit, GeneratorExit, ValueError, StopIteration, RecursionError, MemoryError, AttributeError)
"""What the misbehaving code raises."""
ANSWERS: Mapping[str, Any] = MappingProxyType(
    {
        "__str__": 3, "__bool__": False, "__len__": 0, "__eq__": True, "__hash__": 1, "__notes__": (),
        "status": "x", "__class__": KeyboardInterrupt, "__traceback__": 7, "__cause__": "me",
        "__context__": [],
    }
)  # fmt: skip
"""Wrong answers, where one is worth trying."""


class StrangeName(type):
    """Of classes that have no name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit("asked for the name")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an error is made of; a test shows this, as the error itself cannot be shown."""

    base: type[BaseException]
    """Its kind in truth."""
    nameless: bool
    """Whether its class has no name."""
    wrong: tuple[tuple[str, type[BaseException] | None], ...]
    """What misbehaves, and what it raises; None for an answer that is wrong."""

    def make(self) -> BaseException:
        """The error."""
        body = {name: _misbehaving(name, error) for name, error in self.wrong}
        kind = StrangeName if self.nameless else type
        return kind("Strange", (self.base,), body)("an error with a strange class")


def recipes(*bases: type[BaseException]) -> st.SearchStrategy[Recipe]:
    """Errors of one of `bases` that misbehave in one to three ways."""
    raising = st.tuples(st.sampled_from((*HOOKS, *PLACES)), st.sampled_from(RAISED))
    answering = st.tuples(st.sampled_from(sorted(ANSWERS)), st.none())
    wrong = st.lists(raising | answering, min_size=1, max_size=3, unique_by=lambda way: way[0]).map(tuple)
    return st.builds(Recipe, st.sampled_from(bases), st.booleans(), wrong)


def _misbehaving(name: str, error: type[BaseException] | None) -> Any:
    def hook(*given: Any) -> Any:
        if error is None:
            return ANSWERS[name]
        raise error("asked")

    return hook if name in HOOKS else property(hook)
