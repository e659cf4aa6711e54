"""`microbatch check`: may this function be cut at all?

Invariant: the exit code is the answer: 0 it may, 1 it must not, 2 there is no answer (bad options, or the
function failed on the whole sample).
"""

from __future__ import annotations

from typing import Annotated

import typer

from microbatch.cli.exit_codes import FAILED, REFUSED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import print_json, print_text
from microbatch.cli.parameters import AsJson, Backend, Column, RowsFile, TargetName
from microbatch.cli.run_state import RunState
from microbatch.cli.target import load_call, tell_if_changed
from microbatch.errors import ArgumentValueError
from microbatch.proof.check import check_call


def check(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    rows: Annotated[int, typer.Option(help="Most rows to try, spread over the file.")] = 64,
    column: Column = None,
    backend: Backend = "auto",
    json: AsJson = False,
) -> None:
    """Say whether TARGET may run as micro-batches, and if not, why."""
    if rows < 2:
        raise ArgumentValueError(f"--rows is {rows}; nothing can be cut below 2")
    state: RunState = context.obj
    state.loses("there is no answer")
    with interruptible(state):
        loaded, inputs = load_call(target, input, column, state)
        sample = inputs.sample(rows)
        failed = f"{target} failed on {sample.rows} rows of {input} before anything was cut"
        with users_code(failed, REFUSED):
            report = check_call(loaded.call(sample), backend or "auto")
        inputs.source.check()
        tell_if_changed(inputs, "the answer")
    if json:
        print_json(report)
    else:
        print_text(f"{target} {report}\ntried on {sample.rows} of {inputs.rows:,} rows")
    if not report.cuttable:
        raise typer.Exit(FAILED)
