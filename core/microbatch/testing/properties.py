"""Property tests that a third party gets by subclassing.

Invariant: every subclass has test functions of its own. Hypothesis keeps its state on the function object, so one
`@given` method shared by two subclasses fails its health check (differing executors); here each `check_*` method
that carries strategies is copied into a `test_*` per subclass.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import given
from hypothesis.strategies import SearchStrategy

__all__ = ["PropertySuite", "prop"]

F = TypeVar("F", bound=Callable[..., None])


def prop(**strategies: SearchStrategy[Any]) -> Callable[[F], F]:
    """Mark a `check_*` method: its keyword arguments are drawn. Without strategies it runs once."""

    def mark(check: F) -> F:
        check._strategies = strategies  # type: ignore[attr-defined]
        return check

    return mark


class PropertySuite:
    """Base of the conformance suites; names end in `Suite`, so pytest does not collect the bases themselves."""

    not_promised: ClassVar[Mapping[str, str]] = {}
    """Names of checks (without `check_`) that do not apply here, each with the reason; they are skipped with it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = {name.removeprefix("check_") for name in dir(cls) if name.startswith("check_")}
        if unknown := set(cls.not_promised) - known:
            raise TypeError(f"{cls.__name__}.not_promised names checks that do not exist: {sorted(unknown)}")
        for name in sorted(known):
            check = getattr(cls, f"check_{name}")
            strategies = getattr(check, "_strategies", None)
            if strategies is None or f"test_{name}" in cls.__dict__:
                continue
            setattr(cls, f"test_{name}", _test(cls, check, name, strategies))


def _test(
    cls: type[PropertySuite], check: Any, name: str, strategies: Mapping[str, Any]
) -> Callable[..., None]:
    """A new test function for this subclass, so that failures carry its name."""
    test = types.FunctionType(
        check.__code__, check.__globals__, f"test_{name}", check.__defaults__, check.__closure__
    )
    test.__kwdefaults__ = check.__kwdefaults__
    test.__module__, test.__doc__ = cls.__module__, check.__doc__
    test.__qualname__ = f"{cls.__qualname__}.test_{name}"
    if name in cls.not_promised:
        made: Callable[..., None] = pytest.mark.skip(reason=cls.not_promised[name])(_empty(test))
        return made
    return given(**strategies)(test) if strategies else test


def _empty(test: types.FunctionType) -> Callable[..., None]:
    def skipped(self: PropertySuite) -> None:
        """Skipped."""

    skipped.__name__, skipped.__qualname__, skipped.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return skipped
