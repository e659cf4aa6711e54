"""Arguments and options that several commands take, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microbatch.errors import ArgumentValueError

TargetName = Annotated[str, typer.Argument(help="file.py:function or package.module:function")]
RowsFile = Annotated[
    list[Path],
    typer.Option(
        "--input",
        "-i",
        help="Rows: .npy, .npz, .parquet, .arrow, .csv, .jsonl, .txt (a row a line), images; a folder,"
        " a pattern, or the option several times; - for lines of standard input.",
        readable=False,
        allow_dash=True,
    ),
]
"""With typer's own check of permissions off, here and for other paths: it would be worded otherwise."""
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of a .parquet, .arrow, .csv or .jsonl file; several (a,b) go to parameters of"
        " their names."
    ),
]
Arguments = Annotated[
    list[str] | None,
    typer.Option("--arg", help="key=value for a TARGET that is a class, which is made once; several times."),
]
Backend = Annotated[str | None, typer.Option(help="Device; see `microbatch backends`.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]


def names_in(given: list[str] | None) -> tuple[str, ...]:
    """Names of columns, of options that were given several times or with commas."""
    return tuple(name.strip() for text in given or () for name in text.split(",") if name.strip())


def arguments_in(given: list[str] | None) -> dict[str, str]:
    """`key=value` each. Raises ArgumentValueError for what is not."""
    found: dict[str, str] = {}
    for text in given or ():
        name, mark, value = text.partition("=")
        if not mark or not name.isidentifier():
            raise ArgumentValueError(f"--arg {text!r} is not key=value; write it so")
        if name in found:
            raise ArgumentValueError(f"--arg {name} is given twice; leave one out")
        found[name] = value
    return found
