"""`microbatch run`: a function over all rows of a file, into a file.

Invariant: everything that can be wrong with options, input and output is found before the first row is worked
on; the output is whole under its name or not there. The work is that of `microbatch.run_file`; here is what a
command adds: signals, progress, and words at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from microbatch.cli.endings import fate
from microbatch.cli.exit_codes import FAILED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import only_json, print_json
from microbatch.cli.outputs import in_the_making
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
from microbatch.cli.progress import make_progress, nothing_shown
from microbatch.cli.run_state import RunState
from microbatch.cli.signals import Interrupts
from microbatch.cli.streams import say
from microbatch.cli.target import load_source, tell_if_changed
from microbatch.cli.timeline_file import TimelineFile, check_timeline, recorded
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.files.sources import Wanted
from microbatch.files.whole_file import WholeFile
from microbatch.jobs.job import Job, Outputs, Task
from microbatch.jobs.summary import Summary
from microbatch.options.sources import resolve

FLAGS: Mapping[str, str] = MappingProxyType(
    {"thread_pool_size": "--workers", "max_tokens_per_ubatch": "--max-tokens"}
)
"""Options that have another name on the command line."""


class Around:
    """What the command does around a job."""

    def __init__(
        self, target: str, output: Path, state: RunState, interrupts: Interrupts, *, quiet: bool
    ) -> None:
        self._target = target
        self._output = output
        self._state = state
        self._interrupts = interrupts
        self._quiet = quiet
        self._shown = nothing_shown()

    def opened(self, make: Callable[[], WholeFile]) -> AbstractContextManager[WholeFile]:
        """A file that whoever has to tidy up knows of."""
        return in_the_making(make, self._state)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """An error of the function's ends the command with its traceback."""
        with users_code(lambda: f"{self._target} failed; {fate(self._state)}", FAILED):
            yield

    def progress(self, done: int, total: int) -> None:
        """Show it, and note it for the process that watches."""
        if self._shown.total != total:
            self._shown.close()
            self._shown = make_progress(total, quiet=self._quiet)
        self._state.progress(done, total)
        if done:
            self._shown(done, total)

    def completing(self) -> None:
        """The rows are through: no signal keeps the output from its name."""
        self._shown.close()
        self._interrupts.shield()

    def tell(self, warning: str) -> None:
        """On standard error."""
        say(f"warning: {warning}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._shown.close()


def run(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Result: .npy for one array, .npz for several, .parquet, .jsonl, or .txt for texts.",
            readable=False,
        ),
    ],
    column: Column = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns of the input (id,text) that go to a .parquet or .jsonl beside the result."
        ),
    ] = None,
    arg: Arguments = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted, and let this one be.")
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="skip writes the rows that TARGET raises for to OUTPUT.errors.jsonl and goes on."),
    ] = "stop",
    no_clobber: Annotated[
        bool, typer.Option("--no-clobber", help="Refuse to replace an output that is there.")
    ] = False,
    backend: Backend = None,
    policy: Annotated[
        str | None, typer.Option(help="Who sizes the parts; see `microbatch policies`.")
    ] = None,
    splitter: Annotated[str | None, typer.Option(help="even, floor, request-aligned or packed.")] = None,
    schedule: Annotated[str | None, typer.Option(help="sequential, parallel, pingpong or streamed.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most memory of a step, such as 2GiB.")] = None,
    workers: Annotated[int | None, typer.Option(help="Most threads.")] = None,
    num_ubatches: Annotated[
        int | None, typer.Option(help="Cut each step into this many parts, if so many can be filled.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most rows or tokens (text: characters) a part, with any policy.")
    ] = None,
    timeline: TimelineFile = None,
    json: AsJson = False,
    quiet: Quiet = False,
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
    check_timeline(timeline)
    task = Task(
        wanted=Wanted(places=tuple(input), columns=names_in(column), keep=names_in(keep)),
        output=output,
        options=given,
        arguments=arguments_in(arg),
        resume=resume,
        on_error=on_error,
        no_clobber=no_clobber,
    )
    state: RunState = context.obj
    with interruptible(state) as interrupts, only_json(json) as out:
        around = Around(target, output, state, interrupts, quiet=quiet)
        with recorded(timeline):
            summary = _work(target, task, around, state)
        print_json(summary, out) if json else typer.echo(str(summary))


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what cannot be, by the name that it has on the command line."""
    try:
        resolve(None, **options)
    except (ArgumentTypeError, ArgumentValueError) as error:
        text = str(error)
        for name, flag in FLAGS.items():
            text = text.replace(f"{name} is", f"{flag} is")
        raise type(error)(text) from None


def _work(name: str, task: Task, around: Around, state: RunState) -> Summary:
    """Do the task. Raises MicrobatchError for what is wrong with its parts."""
    task.check()
    with contextlib.closing(around), ExitStack() as stack:
        outputs = Outputs(task, around, stack)
        target, source = load_source(name, task.wanted, state, task.arguments)
        state.progress(0, source.rows or 0)
        summary = Job(task, target, source, outputs, around).run()
        tell_if_changed(source.source, str(task.output))
        return summary
