"""What wrappers put around a message changes no verdict; what quotes it does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.classify import classify
from microbatch_backends.failures.known_classes import BY_CLASS, carries
from microbatch_backends.failures.statements import HEAD, PRINTED, TAIL, message_of, statements_in
from microbatch_backends.failures.verdicts import CODES_WITHIN
from tests.backends.failures.real_text import OTHER, RealText, class_named, kind_with
from tests.backends.failures.real_texts import TEXTS

RETRIED = [real for real in TEXTS if real.kind is not OTHER and " | " not in real.raised and real.text]
PLAIN = [
    real
    for real in RETRIED
    if real.raised == "RuntimeError" and not any(mark in real.text for mark in PRINTED)
]
CODES = BY_CLASS["RuntimeError"].coded

IN_FRONT = [
    "[rank3]: ",
    "[Rank 0] ",
    "rank 12: ",
    "Exception: ",
    "Error: ",
    "Uncaught exception: ",
    "inference failed: ",
    "the call failed: ",
    "[2026-11-27 10:15:42] ",
    "(EngineCore pid=4711) ",
    "\n\n",
    "  what():  ",
    "src/storage/./pooled_storage_manager.h:157: ",
    "/pytorch/aten/src/ATen/native/Op.cpp:12: ",
]
BEHIND = [
    "",
    "\n",
    "\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace.",
    (
        "\nException raised from malloc at c10/cuda/CUDACachingAllocator.cpp:267 (most recent call first):\n"
        "frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x4d (0x2ba39fce177d in libc10.so)"
    ),
]
TRACEBACKS = [
    'Traceback (most recent call last):\n  File "step.py", line 3, in f\n    y = g(x)\n{0}: {1}',
    "Caught an error in worker process 0.\nOriginal Traceback (most recent call last):\n  File\n{0}: {1}",
    '[rank1]: Traceback (most recent call last):\n[rank1]:   File "step.py", line 3, in f\n[rank1]: {0}: {1}',
    "backend='inductor' raised:\n{0}: {1}",
    'ray::f() (pid=1, ip=10.0.0.1)\n  File "f.py", line 1, in f\n{0}: {1}',
    "{0}: {1}",
    "[rank0]: {0}: {1}",
]
QUOTING = [
    "the log says: {0}",
    "line 3 of the log: {0}",
    "no rule for the text {0}",
    "unlike {0}",
    "{1}",
    "wanted {1}",
    "{1} was not in the log",
    "job 17 printed\n{0}",
    "KeyError: {1}",
    "KeyError: RuntimeError: {0}",
    'failed\nTraceback (most recent call last):\n  File "log.py", line 3, in parse\nKeyError: {1}\n',
    'failed\nTraceback (most recent call last):\n  File "log.py", line 3, in parse\nValueError: {0}\n',
]
"""{0} is the text, {1} the text as `repr` writes it."""


def has_code(text: str) -> bool:
    """Whether a code is in it, which counts wherever it stands outside of quotation marks."""
    return any(code in text.lower() for code in CODES)


@given(
    real=st.sampled_from(RETRIED),
    front=st.lists(st.sampled_from(IN_FRONT), max_size=3),
    behind=st.sampled_from(BEHIND),
)
def test_what_wrappers_put_around_a_message_changes_nothing(
    real: RealText, front: list[str], behind: str
) -> None:
    """Ranks, places in files, times and "Exception:" in front and stack traces behind are no message."""
    error = class_named(real.raised)("".join(front) + real.text + behind)
    assert classify(error) is real.kind


@given(real=st.sampled_from(RETRIED), form=st.sampled_from(TRACEBACKS))
def test_an_error_that_was_printed_into_a_message_counts_as_its_class(real: RealText, form: str) -> None:
    """What another process or thread printed is judged as if it had been raised here."""
    name = real.raised.partition(" < ")[0]
    assert classify(RuntimeError(form.format(name, real.text))) is real.kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("OutOfMemoryError: CUDA out of memory", FailureKind.OOM),
        ("AcceleratorError: CUDA error: misaligned address", FailureKind.DEAD),
        ("JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes", FailureKind.OOM),
        ("BudgetError: CUDA out of memory", OTHER),
    ],
)
def test_a_class_may_be_printed_without_its_module(said: str, kind: FailureKind) -> None:
    """So do wrappers that print the name of the type instead of a traceback."""
    assert classify(RuntimeError(said)) is kind
    assert classify(RuntimeError(f"backend='inductor' raised:\n{said}")) is kind


@given(real=st.sampled_from(PLAIN), form=st.sampled_from(QUOTING))
def test_a_message_that_quotes_another_is_not_taken_for_it(real: RealText, form: str) -> None:
    """In quotation marks nothing counts, and in other words only a code does."""
    quoted = form.format(real.text, repr(real.text))
    if "{0}" not in form or not has_code(real.text):
        assert classify(RuntimeError(quoted)) is OTHER


@pytest.mark.case(67)
@given(real=st.sampled_from(RETRIED), form=st.sampled_from([*QUOTING, "{0}"]))
def test_an_error_of_the_functions_own_class_is_its_own(real: RealText, form: str) -> None:
    """Whatever it says: a KeyError, an AssertionError, a class of the user's."""
    for raised in ("KeyError", "AssertionError", "TypeError", "model.BudgetError < RuntimeError"):
        assert classify(class_named(raised)(form.format(real.text, repr(real.text)))) is OTHER


@given(words=st.text(st.characters(codec="utf-8"), max_size=300))
def test_words_that_no_library_prints_mean_nothing(words: str) -> None:
    """Any text is read without an error, and is the function's own."""
    for kind in (RuntimeError, ValueError):
        assert classify(kind(f"~{words}")) is OTHER


@pytest.mark.parametrize("place", ["front", "behind"])
def test_a_text_of_megabytes_is_read_at_its_ends(place: str) -> None:
    """The beginning and the last lines count, and what is between them is not looked at."""
    padding = "tensor of rows, " * 200_000
    said = "CUDA out of memory. Tried to allocate 2.00 GiB"
    printed = f"Traceback (most recent call last):\n  File\n{padding}\nRuntimeError: {said}"
    assert classify(RuntimeError(f"{said}\n{padding}" if place == "front" else printed)) is FailureKind.OOM
    assert classify(RuntimeError(f"{padding}{said}{padding}")) is OTHER
    assert len(message_of(RuntimeError(padding))) <= HEAD + TAIL + 1


def test_only_text_is_read() -> None:
    """An argument that is no text is not printed: that could take seconds, or run the user's code."""

    class Costly:
        def __repr__(self) -> str:
            raise AssertionError("printed")

        __str__ = __repr__

    assert message_of(RuntimeError(Costly(), "CUDA out of memory")) == "CUDA out of memory"
    assert classify(RuntimeError(Costly())) is OTHER
    assert classify(MemoryError(Costly())) is FailureKind.OOM


def test_a_number_is_read_though_the_text_is_in_another_language() -> None:
    """The number of a status needs no text; a property that raises is none, nor is what is no number."""
    error = class_named("torch.AcceleratorError < RuntimeError")
    assert classify(kind_with(error, "error_code", "700")("Zugriff verletzt")) is FailureKind.DEAD

    def broken(self: object) -> int:
        raise OSError("no status")

    for code in (property(broken), np.array([2, 700]), None):
        odd = type("AcceleratorError", (RuntimeError,), {"__module__": "torch", "error_code": code})
        assert classify(odd("CUDA error: out of memory")) is FailureKind.OOM


def test_a_dead_device_in_any_statement_of_a_message_decides() -> None:
    """Though the message itself says that memory ran out."""
    printed = "Traceback (most recent call last):\n  File\nRuntimeError: CUDA error: misaligned address"
    assert classify(RuntimeError(f"CUDA out of memory\n{printed}")) is FailureKind.DEAD


@pytest.mark.parametrize("more", ["s", "2", " cards", " of this process"])
def test_a_text_ends_where_its_last_clause_ends(more: str) -> None:
    """A longer word, a longer number and a longer clause are another text."""
    assert classify(RuntimeError("cuda execution failed with error 2")) is FailureKind.OOM
    assert classify(RuntimeError(f"cuda execution failed with error 2{more}")) is OTHER


def test_codes_are_looked_for_in_the_beginning() -> None:
    """Libraries print them first; a search of all that is printed behind would cost more than it finds."""
    for before, kind in ((CODES_WITHIN - 60, FailureKind.OOM), (CODES_WITHIN, OTHER)):
        assert classify(RuntimeError(f"{'x ' * (before // 2)}CUBLAS_STATUS_ALLOC_FAILED")) is kind


@given(codes=st.lists(st.sampled_from(sorted(CODES)), min_size=1, max_size=4))
def test_of_several_codes_the_gravest_counts(codes: list[str]) -> None:
    """A dead device goes before memory, memory before doubt, and doubt before a size."""
    order = (FailureKind.DEAD, FailureKind.OOM, FailureKind.SUSPECT, FailureKind.SIZE)
    expected = min((CODES[code] for code in codes), key=order.index)
    assert classify(RuntimeError("; ".join(f"status {code.upper()}" for code in codes))) is expected


def test_statements_are_split_at_the_classes_that_a_text_names() -> None:
    """Each printed error is a statement of its own, with the class in front of it."""
    text = "it failed\nTraceback (most recent call last):\n  File\nKeyError: 'a'\n\nand then\n\nValueError: b"
    assert [(each.name, each.beginnings[0]) for each in statements_in(text, carries)] == [
        ("", "it failed"),
        ("KeyError", "'a'\n\nand then"),
        ("ValueError", "b"),
    ]
