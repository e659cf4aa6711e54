"""`microbatch backends`, `policies` and `plugins`: what there is, and if it cannot be used here, what to do.

Invariant: listing imports no array framework and ends with 0, whatever is wrong with a plugin; the keys of
`--json` are the fields of `Listing` and stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import microbatch.loading.plugins as known
from microbatch.cli.output import print_json, print_table
from microbatch.cli.parameters import AsJson
from microbatch.loading.listing import Listing

TEXTS = ("what it is", "what is wrong", "what to do")
"""The columns of sentences; the other ones hold a word or two."""


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
    titles = ("name", usable, "from", "priority", *TEXTS)
    # what a plugin announces is a list that grows with it; of the others it is one short line
    print_table(titles, map(_row, lines), under=TEXTS if usable == "in use" else TEXTS[1:])


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
