"""`microbatch check`: may this function be cut at all?

Invariant: the exit code is the answer: 0 it may, 1 it must not, 2 there is no answer (bad options, or the
function failed on the whole sample).
"""

from __future__ import annotations

from typing import Annotated

import typer

from microbatch.cli.exit_codes import FAILED, REFUSED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import only_json, print_json, print_text
from microbatch.cli.parameters import (
    Arguments,
    AsJson,
    Backend,
    Column,
    Quiet,
    RowsFile,
    TargetName,
    arguments_in,
    names_in,
)
from microbatch.cli.progress import trying
from microbatch.cli.run_state import RunState
from microbatch.cli.target import call_of, load_call, tell_if_changed
from microbatch.errors import ArgumentValueError
from microbatch.files.sources import Wanted
from microbatch.proof.check import check_call


def check(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    rows: Annotated[int, typer.Option(help="Most rows to try, spread over the file.")] = 64,
    column: Column = None,
    arg: Arguments = None,
    backend: Backend = "auto",
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say whether TARGET may run as micro-batches, and if not, why."""
    if rows < 2:
        raise ArgumentValueError(f"--rows is {rows}; nothing can be cut below 2")
    state: RunState = context.obj
    state.loses("there is no answer")
    wanted = Wanted(places=tuple(input), columns=names_in(column))
    with interruptible(state), only_json(json) as out:
        loaded, inputs = load_call(target, wanted, state, arguments_in(arg))
        sample = inputs.sample(rows)
        failed = f"{target} failed on {sample.rows} rows of {inputs.path} before anything was cut"
        with users_code(failed, REFUSED), trying(sample.rows, quiet=quiet) as shown:
            report = check_call(call_of(loaded, sample), backend or loaded.backend or "auto", on_trial=shown)
        inputs.source.check()
        tell_if_changed(inputs.source, "the answer")
        if json:
            print_json(report, out)
        else:
            print_text(f"{target} {report}\ntried on {sample.rows} of {inputs.rows:,} rows")
    if not report.cuttable:
        raise typer.Exit(FAILED)
