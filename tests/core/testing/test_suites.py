"""How suites make tests: one set for each subclass, exceptions with reasons, nothing imported unasked."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import pytest
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError
from microbatch.testing import PropertySuite, prop


class Numbers(PropertySuite):
    top = 3

    @prop(number=st.integers(0, 100))
    def check_small(self, number: int) -> None:
        """Numbers are small."""
        assert number <= self.top

    def check_plain(self) -> None:
        assert self.top


def test_each_subclass_has_tests_of_its_own() -> None:
    class Large(Numbers):
        top = 100

    class Larger(Large):
        top = 1000

        def test_plain(self) -> None:
            raise KeyError("written by hand")

    class Largest(Larger):
        pass

    Large().test_small()  # type: ignore[attr-defined]
    Larger().test_small()  # type: ignore[attr-defined]
    assert Large.test_small.__qualname__.endswith("Large.test_small")  # type: ignore[attr-defined]
    assert Large.test_small.__doc__ == "Numbers are small."  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        Largest().test_plain()
    with pytest.raises(AssertionError):
        Numbers().test_small()  # type: ignore[attr-defined]


def test_exceptions_carry_reasons_and_must_exist() -> None:
    class Excused(Numbers):
        not_promised: ClassVar = {"plain": "not here"}
        expected_failures: ClassVar = {"small": "they are not"}

    marks = {name: getattr(Excused, name).pytestmark[0] for name in ("test_plain", "test_small")}
    assert marks["test_plain"].name == "skip"
    assert marks["test_small"].kwargs == {"strict": True, "reason": "they are not"}
    with pytest.raises(ArgumentTypeError, match="did you mean 'plain'"):
        type("Wrong", (Numbers,), {"expected_failures": {"plan": "x"}})


def test_importing_the_package_imports_neither_pytest_nor_hypothesis() -> None:
    code = (
        "import sys, microbatch.testing as t; t.RecordingBackend, t.AdversarialBackend, t.Sequencer\n"
        "assert not {'pytest', 'hypothesis', 'torch'} & set(sys.modules), sys.modules.keys()\n"
        "assert set(t.__all__) <= set(dir(t))\n"
        "for name in t.__all__: getattr(t, name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
