"""Values of the user in the text of a message.

Invariant: a message stays one line of readable length, whatever was given. Of plain values the value is
shown, of all others only the type: the text of a big array or of a module says nothing and may take seconds
to make.
"""

from __future__ import annotations

from numbers import Number

from microbatch.options.raised import Harmless, class_name

LONGEST = 80
"""Characters of one value in a message."""


def shorten(text: str, longest: int = LONGEST) -> str:
    """`text`, or its beginning and `...` where it is longer than `longest`."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shown(value: object) -> str:
    """The value as Python writes it, shortened; for values that plugins answer."""
    with Harmless():
        return shorten(str.__str__(repr(value)))
    return f"something of type {class_name(type(value))}"


def given(value: object) -> str:
    """The value and its type, such as `2.0 (float)`; of other than numbers and texts the type alone."""
    if isinstance(value, str):
        return f"{shorten(value)!r} (str)"
    if value is None or isinstance(value, Number):
        return f"{shorten(str(value))} ({type(value).__name__})"
    return f"of type {type(value).__name__}"


def unit_label(unit: str) -> str:
    """How a reader meets a unit of size. A cost is what a part takes with all rows padded to its longest."""
    return "padded units" if unit == "cost" else unit
