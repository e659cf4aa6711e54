"""Arguments and options that several commands take, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TargetName = Annotated[str, typer.Argument(help="file.py:function or package.module:function")]
RowsFile = Annotated[
    Path,
    typer.Option(help="File with the rows: .npy, .npz, .txt (a row a line) or .parquet.", readable=False),
]
"""With typer's own check of permissions off, here and for other paths: it would be worded otherwise."""
Column = Annotated[str | None, typer.Option(help="Column of a .parquet file.")]
Backend = Annotated[str | None, typer.Option(help="Device; see `microbatch backends`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
