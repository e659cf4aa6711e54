"""Looking at an error raises nothing, whatever its class answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.options import raised
from tests.support.strange_errors import Recipe, recipes


@given(recipes(ValueError, SystemExit, OSError, MemoryError))
def test_every_look_at_a_strange_error_gives_an_answer(recipe: Recipe) -> None:
    """Text, name, kind, chain and numbers are plain values, and the error is as before."""
    error = recipe.make()
    texts = (raised.text_of(error), raised.name_of(error), raised.described(error))
    assert [type(text) for text in texts] == [str, str, str]
    assert raised.name_of(error) == "Strange"
    assert raised.is_a(error, recipe.base)
    assert not raised.is_a(error, KeyboardInterrupt)
    raised.note(error, "seen")
    raised.drop_traceback(error)
    assert raised.traceback_of(error) is raised.cause_of(error) is raised.context_of(error) is None
    assert [member is error for member in raised.chain_of(error)] == [True]
    assert raised.number_of(error, "status") is None


@given(recipes(ValueError), recipes(ValueError))
def test_what_a_strange_error_was_raised_from_is_found(one: Recipe, other: Recipe) -> None:
    """Causes, contexts and tracebacks are those that Python set."""
    cause, error = one.make(), other.make()
    with pytest.raises(ValueError) as caught:
        try:
            raise cause
        except ValueError as first:
            raise error from first
    assert caught.value is error
    assert raised.cause_of(error) is cause
    assert raised.traceback_of(error) is not None
    assert {id(member) for member in raised.chain_of(error)} == {id(error), id(cause)}


def test_a_text_is_described_with_its_class() -> None:
    """`ValueError: no`, and the class alone where there is no text."""
    assert raised.described(ValueError("no")) == "ValueError: no"
    assert raised.described(ValueError()) == "ValueError"


def test_members_of_groups_are_in_the_chain() -> None:
    """A group, its members, and each once."""
    shared = ValueError("shared")
    group = ExceptionGroup("several", [shared, ExceptionGroup("inner", [shared, TypeError("other")])])
    kinds = sorted(raised.name_of(member) for member in raised.chain_of(group))
    assert kinds == ["ExceptionGroup", "ExceptionGroup", "TypeError", "ValueError"]


@given(st.sampled_from((raised.Harmless(), raised.Beside(ValueError("first")))))
def test_an_interrupt_goes_through(guard: raised.Harmless | raised.Beside) -> None:
    """Ctrl-C while an error is looked at is not swallowed, and everything else is."""
    for harmless in (SystemExit, GeneratorExit, ValueError):
        with guard:
            raise harmless
    with pytest.raises(KeyboardInterrupt), guard:
        raise KeyboardInterrupt


def test_what_is_raised_beside_an_error_is_told_in_its_notes() -> None:
    """The error stays the one that is raised."""
    error = ValueError("first")
    with raised.Beside(error):
        raise SystemExit("second")
    assert error.__notes__ == ["while it was taken note of, this was raised: SystemExit: second"]


def test_an_error_that_an_interrupt_was_turned_into_tells_of_it() -> None:
    """As a context or a cause, at any depth; an error without one does not."""
    with pytest.raises(ValueError) as caught:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ValueError from None
    assert raised.of_an_interrupt(caught.value)
    assert raised.of_an_interrupt(ExceptionGroup("several", [TypeError(), caught.value]))
    assert not raised.of_an_interrupt(ExceptionGroup("several", [TypeError(), ValueError()]))
