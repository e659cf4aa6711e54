"""`microbatch run`: a function over all rows of a file, into a file, as one step.

Invariant: everything that can be wrong with options, input and output is found before the first row is worked
on; the output is whole under its name or not there. The step is one call of a wrapper over the whole file,
whose result is mapped from the output file, so what is said afterwards is what that wrapper reports.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from microbatch.arrays.trees import flatten
from microbatch.binding.call import Call
from microbatch.cli.failures import explain
from microbatch.cli.output import print_json
from microbatch.cli.parameters import AsJson, Backend, Column, RowsFile, TargetName
from microbatch.cli.progress import Quiet, make_progress
from microbatch.cli.signals import Interrupts
from microbatch.cli.summary import Summary, summarise
from microbatch.cli.target import load_call
from microbatch.errors import ArgumentTypeError, ArgumentValueError, MicrobatchError, OutputFileError
from microbatch.files.outputs import OutputFile
from microbatch.host.proc import peak_bytes, resident_bytes
from microbatch.options.sources import resolve
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
    progress: Quiet = field(default_factory=lambda: Quiet(0))
    """How many rows are done."""
    told: threading.Lock = field(default_factory=threading.Lock)
    """Taken by whoever says that the run was interrupted: the main thread or the watching one."""


def run(
    target: TargetName,
    input: RowsFile,
    output: Annotated[Path, typer.Option(help="Result: .npy for one array, .npz for several.")],
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
    job = Job(target=target, input=input, output=output, column=column, quiet=quiet, json=json, options=given)
    code = _execute(job)
    if code:
        raise typer.Exit(code)


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what cannot be, by the name that it has on the command line."""
    try:
        resolve(None, **options)
    except (ArgumentTypeError, ArgumentValueError) as error:
        text = str(error)
        for name, flag in FLAGS.items():
            text = text.replace(f"{name} is", f"{flag} is")
        raise type(error)(text) from None


def _execute(job: Job) -> int:
    """Do the job; returns the exit code. Raises MicrobatchError for what is wrong with its parts."""
    with (
        OutputFile(job.output, job.input) as output,
        Interrupts(lambda: _tell_interrupted(job, output, job.progress.restore)) as interrupts,
    ):
        try:
            summary = _work(job, output, interrupts)
            if job.json:
                print_json(summary)
            else:
                typer.echo(str(summary))
        except KeyboardInterrupt:
            _tell_interrupted(job, output, job.progress.close)
            return interrupts.exit_code
        except (MicrobatchError, typer.Exit):
            raise
        except Exception as error:  # noqa: BLE001 - the function's own, of any kind
            explain(error, f"{job.target} failed; nothing was written to {job.output}")
            return 1
    return 0


def _work(job: Job, output: OutputFile, interrupts: Interrupts) -> Summary:
    target, inputs = load_call(job.target, job.input, job.column)
    call = target.call(inputs)
    start = resident_bytes()

    def progress(done: int, total: int) -> None:
        job.progress(done, total)  # the one made below: nothing is shown before the options have passed

    with UBatchWrapper(
        call.function, target.config, layout=call.layout, progress=progress, **job.options
    ) as wrapper:
        job.progress = make_progress(inputs.rows, quiet=job.quiet)
        with contextlib.closing(job.progress):
            _store(wrapper, call, output)
        report = wrapper.last_report
    assert report is not None, "a step that returned has a report"
    output.flush()
    interrupts.shield()
    output.commit()
    peak = max(0, peak_bytes() - start, report.peak_bytes or 0)
    return summarise(report, output, peak_memory=peak)


def _store(wrapper: UBatchWrapper, call: Call, output: OutputFile) -> None:
    """Run the step into the file."""
    if output.is_archive:
        output.save(_named(wrapper(*call.args, **call.kwargs)))
        return
    result = wrapper(*call.args, out=output.allocate, **call.kwargs)
    if output.shape is None:
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


def _tell_interrupted(job: Job, output: OutputFile, leave_terminal: Callable[[], None]) -> None:
    """Say once that the run was interrupted, how far it was, and what became of the output.

    Called by the main thread as it unwinds, or by the watching one where the main one does not react and the
    process ends right after.
    """
    leave_terminal()
    output.discard()
    if not job.told.acquire(blocking=False):
        return
    what = f"{job.output} is complete" if output.committed else f"nothing was written to {job.output}"
    done, total = job.progress.done, job.progress.total
    far = f"after {done:,} of {total:,} rows" if total else "before the first row"
    print(f"interrupted {far}; {what}", file=sys.stderr, flush=True)
