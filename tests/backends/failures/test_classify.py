"""How chains and groups of exceptions are read, and that nothing is raised; texts are in test_real_texts."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.classify import classify

OOM, SIZE, SUSPECT, DEAD, OTHER = (
    FailureKind.OOM,
    FailureKind.SIZE,
    FailureKind.SUSPECT,
    FailureKind.DEAD,
    FailureKind.OTHER,
)


def foreign(path: str, *bases: type) -> type:
    """An exception class as a framework that is not installed would define it."""
    module, _, name = path.rpartition(".")
    return type(name, bases or (RuntimeError,), {"__module__": module})


TorchOom = foreign("torch.OutOfMemoryError")
Accelerator = foreign("torch.AcceleratorError")


def test_the_cause_counts() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError as oom:
            raise ValueError("layer 3 failed") from oom
    except ValueError as error:
        assert classify(error) is OOM


def test_what_was_being_handled_inside_the_step_counts() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError:
            {}["clean-up failed"]
    except KeyError as error:
        assert classify(error) is OOM


def test_a_context_that_was_suppressed_does_not_count() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError:
            raise ValueError("something else") from None
    except ValueError as error:
        assert classify(error) is OTHER


def test_what_the_caller_was_handling_before_the_step_does_not_count() -> None:
    def step() -> FailureKind:
        try:
            raise ValueError("the function's own error")
        except ValueError as error:
            assert isinstance(error.__context__, MemoryError)
            return classify(error)

    try:
        raise MemoryError
    except MemoryError:
        assert step() is OTHER


def test_an_error_inside_a_step_counts_though_the_caller_handles_another() -> None:
    def step() -> FailureKind:
        try:
            try:
                raise MemoryError
            except MemoryError:
                raise ValueError("in the function's handler")
        except ValueError as error:
            return classify(error)

    try:
        raise KeyError("the caller's")
    except KeyError:
        assert step() is OOM


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupts_are_never_retried(kind: type[BaseException]) -> None:
    error = kind()
    error.__cause__ = MemoryError()
    assert classify(error) is OTHER
    assert classify(BaseExceptionGroup("", [MemoryError(), error])) is OTHER


def test_a_dead_device_wins_wherever_it_is_in_the_chain() -> None:
    error = TorchOom("CUDA out of memory")
    error.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert classify(error) is DEAD


@pytest.mark.parametrize(
    ("outer", "cause", "kind"),
    [
        (TorchOom("CUDA out of memory"), RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"), OOM),
        (RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"), TorchOom("CUDA out of memory"), SUSPECT),
        (ValueError("own"), TorchOom("CUDA out of memory"), OOM),
    ],
)
def test_of_several_in_a_chain_the_outermost_counts(
    outer: Exception, cause: Exception, kind: FailureKind
) -> None:
    """What was raised last knows most of what happened, where it says anything at all."""
    outer.__cause__ = cause
    assert classify(outer) is kind


leaves = st.sampled_from(
    [
        (MemoryError(), OOM),
        (RuntimeError("Invalid buffer size: 1.00 GB"), SIZE),
        (RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"), SUSPECT),
        (RuntimeError("CUDA error: misaligned address"), DEAD),
        (ValueError("own"), OTHER),
    ]
)
SEVERITY = (DEAD, OTHER, SUSPECT, OOM, SIZE)


@given(members=st.lists(leaves, min_size=1, max_size=4), depth=st.integers(0, 3))
def test_a_group_may_be_retried_only_if_all_its_members_may(
    members: list[tuple[Exception, FailureKind]], depth: int
) -> None:
    group = ExceptionGroup("several", [error for error, _ in members])
    for _ in range(depth):
        group = ExceptionGroup("outer", [group])
    assert classify(group) is min((kind for _, kind in members), key=SEVERITY.index)


@given(
    links=st.lists(
        st.tuples(st.sampled_from(["cause", "context"]), st.integers(0, 4)), min_size=5, max_size=5
    ),
    oom=st.integers(0, 4),
)
def test_cycles_end(links: list[tuple[str, int]], oom: int) -> None:
    errors: list[Exception] = [ValueError(str(number)) for number in range(5)]
    errors[oom] = MemoryError()
    for error, (way, target) in zip(errors, links, strict=True):
        object.__setattr__(error, f"__{way}__", errors[target])
    reached, here = set(), 0
    while here not in reached:
        reached.add(here)
        here = links[here][1]
    assert classify(errors[0]) is (OOM if oom in reached else OTHER)


def test_an_exception_without_a_text_is_read_by_its_type() -> None:
    class Mute(MemoryError):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert classify(Mute()) is OOM


def nested(depth: int) -> Exception:
    """A group in a group, and so on."""
    error: Exception = MemoryError()
    for _ in range(depth):
        error = ExceptionGroup("", [error])
    return error


def test_groups_nested_deeper_than_the_stack_are_no_error() -> None:
    """What cannot be read to its end is the caller's own error."""
    assert classify(nested(20)) is OOM
    assert classify(nested(10 * sys.getrecursionlimit())) is OTHER


def test_a_chain_of_any_length_is_read() -> None:
    """The error that began a long chain counts; of a chain without end only so many links are read."""
    for length, meaning in ((500, OOM), (100_000, OTHER)):
        error: Exception = MemoryError()
        for number in range(length):
            outer = ValueError(number)
            outer.__cause__ = error
            error = outer
        assert classify(error) is meaning
        while error.__cause__ is not None:  # taken apart from outside: freeing a chain recurses
            error, cause = error.__cause__, error
            cause.__cause__ = None


@pytest.mark.parametrize("module", [None, 7, "", "torch.\n", "torch"])
def test_a_class_with_any_module_is_read(module: object) -> None:
    """A class may say anything of where it comes from."""
    strange = type("Strange", (RuntimeError,), {"__module__": module})
    assert classify(strange("CUDA out of memory")) is (OOM if str(module).startswith("torch") else OTHER)
    assert classify(type("Strange", (MemoryError,), {"__module__": module})()) is OOM


def test_a_text_that_raises_anything_is_none() -> None:
    """An error whose text cannot be made is read by its class, or is the caller's own."""

    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise MemoryError

    assert classify(type("Mute", (Mute,), {"__module__": "torch"})()) is OTHER


def test_an_error_that_was_raised_again_by_a_process_pool_counts() -> None:
    """The class is the original one, and the cause holds the worker's traceback as text."""
    import concurrent.futures.process as pool

    error = ValueError("of the worker")
    error.__cause__ = pool._RemoteTraceback(
        "Traceback (most recent call last):\n  File\ntorch.OutOfMemoryError: CUDA out of memory"
    )
    assert classify(error) is OOM
