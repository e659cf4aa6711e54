"""`microbatch tune`: measure sizes, show them, and write down the one to use.

Invariant: whatever can be wrong with the options is found before the first call, and files are written only
after the last one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microbatch.cli.config_writer import check_config, write_config
from microbatch.cli.exit_codes import REFUSED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import only_json, print_json, print_text
from microbatch.cli.parameters import (
    Arguments,
    AsJson,
    Backend,
    Column,
    RowsFile,
    TargetName,
    arguments_in,
    names_in,
)
from microbatch.cli.plot import check_plot, draw
from microbatch.cli.run_state import RunState
from microbatch.cli.target import call_of, load_call, tell_if_changed
from microbatch.errors import InputFileError
from microbatch.files.sources import Wanted
from microbatch.options.checks import increasing_in_text
from microbatch.tuning.report import TuneReport
from microbatch.tuning.tune import tune_call


def tune(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    backend: Backend = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most memory of a part, such as 2GiB.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Sizes to measure, such as 64,256,1024.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw throughput and memory: .png or .svg.", readable=False)
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the size to use to this microbatch.toml.", readable=False)
    ] = None,
    column: Column = None,
    arg: Arguments = None,
    json: AsJson = False,
) -> None:
    """Measure TARGET at growing sizes and say which one to use."""
    wanted = None if sizes is None else increasing_in_text("--sizes", sizes)
    if plot is not None:
        check_plot(plot)
    if write is not None:
        check_config(write)
    state: RunState = context.obj
    given = Wanted(places=tuple(input), columns=names_in(column))
    with interruptible(state), only_json(json) as out:
        loaded, inputs = load_call(target, given, state, arguments_in(arg))
        if not inputs.rows:
            raise InputFileError(
                f"{inputs.path} has no rows, so nothing can be measured; name a file with some"
            )
        failed = f"{target} failed at a size it should run at; nothing was written"
        with users_code(failed, REFUSED):
            report = tune_call(
                call_of(loaded, inputs),
                backend=backend or loaded.backend,
                sizes=wanted,
                memory_limit=memory_limit,
            )
        inputs.source.check()
        tell_if_changed(inputs.source, "what was measured")
        if plot is not None:
            draw(report, target, plot, state)
        if write is not None:
            write_config(write, {"policy": "tokens", "max_tokens_per_ubatch": report.chosen}, state)
        if json:
            print_json(report, out)
        else:
            print_text("\n".join(_lines(report, written=write, drawn=plot)))


def _lines(report: TuneReport, *, written: Path | None, drawn: Path | None) -> list[str]:
    lines = [str(report)]
    if written is not None:
        setting = f"policy tokens with max_tokens_per_ubatch {report.chosen:,}"
        lines.append(f"{written} now has {setting}; what is wrapped in that folder uses it")
    if drawn is not None:
        lines.append(f"drawn to {drawn}")
    return lines
