"""`microbatch backends`, `policies` and `plugins`: what there is, and if it cannot be used here, what to do.

Invariant: listing imports no array framework and ends with 0, whatever is wrong with a plugin; the keys of
`--json` are the fields of `Listing` and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import microbatch.loading.plugins as known
from microbatch.cli.output import print_json, print_table
from microbatch.loading.listing import Listing

__all__ = ["backends", "plugins", "policies"]

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]


def backends(json: AsJson = False) -> None:
    """List the backends: which can run here, and why others cannot."""
    _show(known.backends(), json, "runs here")


def policies(json: AsJson = False) -> None:
    """List the sizing policies."""
    _show(known.policies(), json, "usable")


def plugins(json: AsJson = False) -> None:
    """List the plugins: what each announces, and what is wrong."""
    _show(known.plugins(), json, "in use")


def _show(lines: Sequence[Listing], json: bool, usable: str) -> None:
    if json:
        print_json(lines)
        return
    titles = ("name", usable, "from", "priority", "what it is", "what is wrong", "what to do")
    under = (
        ("what it is", "what is wrong", "what to do")
        if usable == "in use"
        else ("what is wrong", "what to do")
    )
    print_table(titles, [_row(line) for line in lines], under=under)


def _row(line: Listing) -> tuple[str, ...]:
    return (
        line.name,
        "yes" if line.available else "no",
        f"{line.distribution} {line.version}".strip() or "given in code",
        "" if line.priority is None else str(line.priority),
        line.summary,
        line.reason,
        line.remedy,
    )
