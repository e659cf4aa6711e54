"""Variables of the environment that begin as ours do and are none of ours.

Invariant: each is told once in a process, with the one that was probably meant; a misspelt option would
otherwise just not count. It is never an error: other programs may use the prefix for something of their own.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from microbatch.errors import warn
from microbatch.options.field_words import unknown_option
from microbatch.options.fields import FIELDS

PREFIX = "MICROBATCH_"
NO_OPTIONS = ("CONFIG", "DEBUG", "DISABLE_PLUGINS", "PLUGINS", "TRACE")
"""Variables of ours that set no option, without the prefix."""


def variable(field: str) -> str:
    """The environment variable of a field, such as MICROBATCH_BACKEND."""
    return f"{PREFIX}{field.upper()}"


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """A sentence for each."""
    known = [*map(str.upper, FIELDS), *NO_OPTIONS]
    names = sorted(name for name in environment if name.startswith(PREFIX))
    return [_sentence(name, known) for name in names if name.removeprefix(PREFIX) not in known]


def warn_of_unknown_variables(environment: Iterable[str]) -> None:
    """Warn of each, once in this process."""
    for text in unknown_variables(environment):
        _warn_once(text)


def _sentence(name: str, known: list[str]) -> str:
    if told := unknown_option(name.removeprefix(PREFIX).lower(), ()).removesuffix(" there are none."):
        return f"environment variable {name} is none of microbatch's and is not read;{told}"
    meant = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=0.6)
    hint = f"did you mean {PREFIX}{meant[0]}?" if meant else "`microbatch config` lists those that are"
    return f"environment variable {name} is none of microbatch's and is not read; {hint}"


@functools.cache
def _warn_once(text: str) -> None:
    warn(text, UserWarning)
