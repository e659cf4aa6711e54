"""What an error says: its message, without what wrappers put around it, and the errors printed in it.

Invariant: a message that only quotes another is not taken for it. What counts is how a message begins, after
marks that announce an error (a rank, a place in a file, "Exception:"), and the last lines of tracebacks that
were printed into it, each judged as the class that it names: a ValueError in the text stays a ValueError.
A look at a message takes its first 6,000 and last 2,000 characters, so that one of megabytes costs no more.

Rejected: any line of a message, since a log that was read is such a line too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Statement", "message_of", "statements_in", "unquoted"]

HEAD, TAIL = 6_000, 2_000
"""Characters looked at, from the beginning and from the end: tracebacks end with what matters."""

PRINTED = (
    "Traceback (most recent call last",
    "Traceback of TorchScript",
    " raised:\n",
    "Error Message Summary:",
    "ray::",
)
"""What says that other errors are printed from there on."""

NAMED = re.compile(
    r"((?:[A-Za-z_]\w{0,80}\.){1,8}[A-Za-z_]\w{0,80}|(?:[A-Z]\w{0,80})?(?:Error|Exception|OutOfResources)):"
    r"(?:\s+|$)"
)
"""The class in front of a message, as tracebacks print it."""

LINE = re.compile(r"^(?:\[rank\d+\]: ?)?([A-Z]\w{0,80}|[a-z_]\w{0,80}\.[\w.]{1,200})(?:: |:?$)", re.MULTILINE)
"""The line of a traceback that names the class: it is not indented. A builtin's name has a capital letter."""

ANNOUNCEMENT = re.compile(
    r"\[?rank\s*:?\s*\d+\]?:?\s*"  # [rank0]: and Rank 0:
    r"|\[[^\[\]\n]{1,120}\]:?\s*"  # [10:44:35]
    r"|\([^()\n]{1,120}\)\s*"  # (Worker pid=4711)
    r"|\{\{[^{}\n]{1,300}\}\}\s*"  # {{function_node __inference_f_14}}
    r"|(?:[\w()]{1,80}:)?[^\s:'\"`]{0,300}\.(?:cc|cpp|cu|cuh|h|hpp|inl|mm|py|pyx|rs|ts)(?::|\s)\d+(?::\d+)?:?\s*"
    # src/storage/pool.h:157: and synchronize:build/compiler_depend.ts:361
    r"|(?:[\w<>.-]{1,40} ){0,3}(?:error|exception|failed|failure|what\(\)):\s+",  # the call failed:
    re.IGNORECASE,
)
"""What stands in front of a message and says that it is an error's."""

QUOTED = re.compile(r"(?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`")

ANY_ERROR = frozenset({"Exception", "Error", "BaseException"})
"""Names in front of a message that say no more than that it is an error."""

MOST_ANNOUNCEMENTS = 6


@dataclass(frozen=True, slots=True)
class Statement:
    """One message, in lower case."""

    name: str
    """The class that the text names; empty where the message is the error's own."""
    beginnings: tuple[str, ...]
    """The message whole, and without one, two and more announcements."""


def message_of(error: BaseException) -> str:
    """The text of `error`, cut to what is looked at; empty where none can be made.

    What is not text is left out, since an array or a long list would be printed whole.
    """
    if type(error).__str__ in (BaseException.__str__, Exception.__str__):
        return "\n".join(_cut(argument) for argument in error.args if isinstance(argument, str))
    return _cut(str(error))


def statements_in(message: str, carries: Callable[[str], bool]) -> Iterator[Statement]:
    """The message itself, and then each error that is printed in it.

    `carries` says whether a class, by its name, may carry the text of another error.
    """
    printed = min((place for mark in PRINTED if (place := message.find(mark)) >= 0), default=None)
    yield from _statements("", message[:printed], carries)
    if printed is None:
        return
    lines = list(LINE.finditer(message, printed))
    ends = [line.start() for line in lines[1:]] + [len(message)]
    for line, end in zip(lines, ends, strict=True):
        yield from _statements(line[1], message[line.end() : end], carries)


def unquoted(text: str) -> str:
    """`text` without what stands in quotation marks."""
    return QUOTED.sub(" ", text)


def _statements(name: str, text: str, carries: Callable[[str], bool]) -> Iterator[Statement]:
    """`text` as the message of the class `name`, up to where it names another one, and so on."""
    beginnings = [text := text.strip()]
    for _ in range(MOST_ANNOUNCEMENTS):
        named = NAMED.match(text)
        found = named or ANNOUNCEMENT.match(text)
        if found is None or (name and not carries(name)):
            break
        text = text[found.end() :]
        if named is not None and named[1] not in ANY_ERROR:
            yield Statement(name, tuple(whole[: len(whole) - len(text)].lower() for whole in beginnings))
            name, beginnings = named[1], []
        beginnings.append(text)
    yield Statement(name, tuple(whole.lower() for whole in beginnings))


def _cut(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
