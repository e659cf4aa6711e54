"""`microbatch run`: a function over all rows of a file, into a file, as one step.

Invariant: everything that can be wrong with options, input and output is found before the first row is worked
on; the output is whole under its name or not there. The step is one call of a wrapper over the whole file,
whose result is mapped from the output file, so what is said afterwards is what that wrapper reports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from microbatch.arrays.trees import flatten
from microbatch.binding.call import Call
from microbatch.cli.exit_codes import FAILED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import print_json
from microbatch.cli.outputs import in_the_making
from microbatch.cli.parameters import AsJson, Backend, Column, RowsFile, TargetName
from microbatch.cli.progress import make_progress, nothing_shown
from microbatch.cli.run_state import RunState
from microbatch.cli.signals import Interrupts
from microbatch.cli.summary import Summary, summarise
from microbatch.cli.target import load_call, tell_if_changed
from microbatch.errors import ArgumentTypeError, ArgumentValueError, OutputFileError
from microbatch.files.outputs import OutputFile
from microbatch.host.proc import peak_bytes, resident_bytes
from microbatch.options.sources import resolve
from microbatch.step.bars import Quiet
from microbatch.wrapper import UBatchWrapper

FLAGS: Mapping[str, str] = MappingProxyType(
    {"thread_pool_size": "--workers", "max_tokens_per_ubatch": "--max-tokens"}
)
"""Options that have another name on the command line."""


@dataclass(slots=True, kw_only=True)
class Job:
    """What the command line asks for, and how far it is."""

    target: str
    """What to run, as it was written."""
    input: Path
    """The file with the rows."""
    output: Path
    """The file for the result."""
    column: str | None
    """The column of a Parquet file."""
    quiet: bool
    """Whether no progress is shown."""
    json: bool
    """Whether the summary is written as JSON."""
    options: dict[str, Any]
    """Options of the wrapper that were given."""
    state: RunState
    """How far it is, for whoever has to say so."""
    progress: Quiet = field(default_factory=nothing_shown)
    """What shows it."""


def run(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    output: Annotated[
        Path, typer.Option(help="Result: .npy for one array, .npz for several.", readable=False)
    ],
    backend: Backend = None,
    policy: Annotated[
        str | None, typer.Option(help="Who sizes the parts; see `microbatch policies`.")
    ] = None,
    splitter: Annotated[str | None, typer.Option(help="even, floor, request-aligned or packed.")] = None,
    schedule: Annotated[str | None, typer.Option(help="sequential, parallel, pingpong or streamed.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most memory of the step, such as 2GiB.")] = None,
    workers: Annotated[int | None, typer.Option(help="Most threads.")] = None,
    num_ubatches: Annotated[
        int | None, typer.Option(help="Cut into this many parts, if so many can be filled.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most rows or tokens (text: characters) a part, with any policy.")
    ] = None,
    column: Column = None,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Run TARGET on all rows of a file and write what it returns."""
    options = {
        "backend": backend,
        "policy": policy,
        "splitter": splitter,
        "schedule": schedule,
        "memory_limit": memory_limit,
        "thread_pool_size": workers,
        "num_ubatches": num_ubatches,
        "max_tokens_per_ubatch": max_tokens,
    }
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(given)
    _execute(
        Job(
            target=target,
            input=input,
            output=output,
            column=column,
            quiet=quiet,
            json=json,
            options=given,
            state=context.obj,
        )
    )


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what cannot be, by the name that it has on the command line."""
    try:
        resolve(None, **options)
    except (ArgumentTypeError, ArgumentValueError) as error:
        text = str(error)
        for name, flag in FLAGS.items():
            text = text.replace(f"{name} is", f"{flag} is")
        raise type(error)(text) from None


def _execute(job: Job) -> None:
    """Do the job. Raises MicrobatchError for what is wrong with its parts."""
    with (
        interruptible(job.state) as interrupts,
        in_the_making(lambda: OutputFile(job.output, job.input), job.state) as output,
    ):
        summary = _work(job, output, interrupts)
        if job.json:
            print_json(summary)
        else:
            typer.echo(str(summary))


def _work(job: Job, output: OutputFile, interrupts: Interrupts) -> Summary:
    target, inputs = load_call(job.target, job.input, job.column, job.state)
    call = target.call(inputs)
    start = resident_bytes()

    def progress(done: int, total: int) -> None:
        job.state.progress(done, total)
        job.progress(done, total)  # the one made below: nothing is shown before the options have passed

    with UBatchWrapper(
        call.function, target.config, layout=call.layout, progress=progress, **job.options
    ) as wrapper:
        job.progress = make_progress(inputs.rows, quiet=job.quiet)
        job.state.progress(0, inputs.rows)
        job.state.doing(f"running {job.target}")
        with contextlib.closing(job.progress):
            _store(wrapper, call, output, job)
        report = wrapper.last_report
    assert report is not None, "a step that returned has a report"
    output.flush()
    inputs.source.check()
    interrupts.shield()
    output.commit()
    tell_if_changed(inputs, str(job.output))
    peak = max(0, peak_bytes() - start, report.peak_bytes or 0)
    return summarise(report, output, peak_memory=peak)


def _store(wrapper: UBatchWrapper, call: Call, output: OutputFile, job: Job) -> None:
    """Run the step into the file."""
    out = None if output.is_archive else output.allocate
    with users_code(f"{job.target} failed; nothing was written to {job.output}", FAILED):
        result = wrapper(*call.args, out=out, **call.kwargs)
    if output.is_archive:
        output.save(_named(result))
    elif output.shape is None:
        kind = type(result).__name__
        raise OutputFileError(
            f"the function returned {kind}, no array with a row for each input row; "
            "return an array, or write several things to .npz"
        )


def _named(result: Any) -> dict[str, Any]:
    """Leaves of a result by name; numbered `arr_0` and on where they have none, as numpy.savez does."""
    leaves, spec = flatten(result)
    found = [(path, leaf) for path, leaf in zip(spec.paths(), leaves, strict=True) if leaf is not None]
    return {
        ".".join(map(str, path)) if any(isinstance(key, str) for key in path) else f"arr_{index}": leaf
        for index, (path, leaf) in enumerate(found)
    }
