"""Sizes of memory as people write them: `2GiB`, `500MB`, or a share of all there is: `40%`.

Invariant: `parse_bytes(format_bytes(n))` is `n`. Decimal and binary units are told apart; a bare `2G` is
refused, as half of the tools mean one and half the other, and a limit that is 7 % too high is an
out-of-memory error.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from microbatch.errors import ArgumentValueError
from microbatch.options.messages import shorten

_UNITS = MappingProxyType(
    {"": 1, "B": 1}
    | {f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)}
    | {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)}
)
_SIZE = re.compile(r"(\d[\d_]{0,24}(?:\.\d{1,20})?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,20})?)\s*%", re.ASCII)


def parse_bytes(text: str) -> int:
    """Bytes of a text such as `2GiB`, `1.5 GB`, `500_000`; a broken byte is cut off.

    Raises ArgumentValueError for anything else, and for less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ArgumentValueError(
            f"{shorten(text)!r} is not a size; write bytes, or a number with a unit such as '2GiB'"
        )
    number, unit = match.groups()
    factor = {name.lower(): factor for name, factor in _UNITS.items()}.get(unit.lower())
    if factor is None:
        bare = unit.lower() in set("kmgtp")
        hint = f"write {unit}iB or {unit}B" if bare else "use B, kB, MB, GB, KiB, MiB or GiB"
        raise ArgumentValueError(f"{shorten(text)!r} has no unit that is known; {hint}")
    from decimal import Decimal  # 1 ms, and few options are sizes

    size = int(Decimal(number.replace("_", "")) * factor)
    if size < 1:
        raise ArgumentValueError(f"{shorten(text)!r} is less than one byte; give a size above 0")
    return size


def parse_share(text: str) -> str:
    """The share of a capacity that `text` says, written in one way: `40%`.

    Raises ArgumentValueError for anything but a number above 0 and up to 100 before the sign.
    """
    match = _SHARE.fullmatch(text.strip())
    percent = float(match[1]) if match is not None else 0.0
    if not 0 < percent <= 100:
        raise ArgumentValueError(
            f"{shorten(text)!r} is no share; write a number up to 100 with %, such as '40%'"
        )
    return f"{percent:g}%"


def bytes_of(limit: int | str | None, capacity: int) -> int | None:
    """A limit in bytes, where it may be a share of `capacity`; None for no limit, or a share of nothing."""
    if not isinstance(limit, str):
        return limit
    return max(1, int(capacity * float(limit.rstrip("%")) / 100)) if capacity > 0 else None


def format_bytes(size: int | str) -> str:
    """The shortest exact text: `2GiB`, `500MB`, `1234567`; a share as it is."""
    if isinstance(size, str):
        return size
    return min((f"{size // factor}{unit}" for unit, factor in _UNITS.items() if size % factor == 0), key=len)
