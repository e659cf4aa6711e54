"""`microbatch check`: may this function be cut at all?

Invariant: the exit code is the answer: 0 it may, 1 it must not, 2 there is no answer (bad options, or the
function failed on the whole sample).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microbatch.cli.failures import explain, interrupted
from microbatch.cli.output import print_json, print_text
from microbatch.cli.target import load_call
from microbatch.errors import ArgumentValueError, MicrobatchError
from microbatch.proof.check import check_call

__all__ = ["check"]


def check(
    target: Annotated[str, typer.Argument(help="file.py:function or package.module:function")],
    input: Annotated[Path, typer.Option(help="Rows to try: .npy, .npz, .txt (a row a line) or .parquet.")],
    rows: Annotated[int, typer.Option(help="Most rows to try, spread over the file.")] = 64,
    column: Annotated[str | None, typer.Option(help="Column of a .parquet file.")] = None,
    backend: Annotated[str, typer.Option(help="Device; see `microbatch backends`.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Say whether TARGET may run as micro-batches, and if not, why."""
    if rows < 2:
        raise ArgumentValueError(f"--rows is {rows}; nothing can be cut below 2")
    loaded, inputs = load_call(target, input, column)
    sample = inputs.sample(rows)
    try:
        report = check_call(loaded.call(sample), backend)
    except KeyboardInterrupt:
        raise interrupted("there is no answer") from None
    except MicrobatchError:
        raise
    except Exception as error:  # noqa: BLE001 - the function's own, of any kind
        explain(error, f"{target} failed on {sample.rows} rows of {input} before anything was cut")
        raise typer.Exit(2) from None
    if json:
        print_json(report)
    else:
        print_text(f"{target} {report}\ntried on {sample.rows} of {inputs.rows:,} rows")
    if not report.cuttable:
        raise typer.Exit(1)
