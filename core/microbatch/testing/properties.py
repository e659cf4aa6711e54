"""The base of conformance suites: properties that subclasses inherit as tests of their own.

Invariant: every subclass gets a fresh function for each `check_*`, since hypothesis keeps its state on the
function and calls one shared by two classes a health problem (`differing_executors`). The `test_*` name
belongs to the subclass, so a failure is reported under the name of whoever ran the suite. A `test_*` that
somebody wrote stays.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

from microbatch.errors import ArgumentTypeError, near_match

Check = TypeVar("Check", bound=Callable[..., None])


def prop(*, examples: int | None = None, **strategies: SearchStrategy[Any]) -> Callable[[Check], Check]:
    """Draw the arguments of `check_*(self, ...)`; `examples` replaces the profile's number."""

    def mark(check: Check) -> Check:
        check.property_of_suite = (strategies, examples)  # type: ignore[attr-defined]
        return check

    return mark


class PropertySuite:
    """Base of the conformance suites; names end in `Suite`, so pytest does not collect the bases."""

    not_promised: ClassVar[Mapping[str, str]] = {}
    """Names of checks (without `check_`) that do not apply here, each with the reason for skipping it."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Names of checks (without `check_`) that are known to fail, each with the reason; strict, so that a
    failure that was repaired is noticed."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the tests; ArgumentTypeError for an exception to a check that does not exist."""
        super().__init_subclass__(**kwargs)
        known = {name.removeprefix("check_") for name in dir(cls) if name.startswith("check_")}
        for field in ("not_promised", "expected_failures"):
            for name in sorted(set(getattr(cls, field)) - known):
                raise ArgumentTypeError(
                    f"{cls.__name__}.{field} names a check {name!r} that does not exist;"
                    f"{near_match(name, known)}"
                )
        for name in sorted(known):
            written = getattr(cls, f"test_{name}", None)
            if written is None or getattr(written, "of_suite", False):
                setattr(cls, f"test_{name}", _test(cls, getattr(cls, f"check_{name}"), name))


def _test(cls: type[PropertySuite], check: Any, name: str) -> Any:
    """A new test function for this subclass."""
    test: Any = _named(cls, check, name)
    strategies, examples = getattr(check, "property_of_suite", ({}, None))
    if strategies:  # no deadline: a device may compile what it is first asked for (OpenCL, 0.4 s)
        drawn = {} if examples is None else {"max_examples": examples}
        test = settings(deadline=None, **drawn)(test)
        test = given(**strategies)(test)
        test.__qualname__ = f"{cls.__qualname__}.test_{name}"
    if name in cls.not_promised:
        test = pytest.mark.skip(reason=cls.not_promised[name])(test)
    if name in cls.expected_failures:
        test = pytest.mark.xfail(strict=True, reason=cls.expected_failures[name])(test)
    test.of_suite = True
    return test


def _named(cls: type, function: Any, name: str) -> types.FunctionType:
    """A copy of `function` as `cls.test_<name>`."""
    copy = types.FunctionType(
        function.__code__, function.__globals__, f"test_{name}", function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = dict(function.__annotations__)
    copy.__module__, copy.__doc__ = cls.__module__, function.__doc__
    copy.__qualname__ = f"{cls.__qualname__}.test_{name}"
    return copy
