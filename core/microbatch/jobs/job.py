"""One job: a function over all rows of an input, into an output.

Invariant: everything that can be wrong with options, input and output is found before the first row is worked
on; the output is whole under its name or not there. Each block of rows is one call of one wrapper. The loop
knows neither the format of the input nor that of the output.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from microbatch.errors import ArgumentValueError, InputFileError, OutputFileError, warn
from microbatch.extend.records import StepReport
from microbatch.files.inputs import Inputs
from microbatch.files.part_files import remove_kept
from microbatch.files.places import check_place
from microbatch.files.protocols import Allocate, Block, Piece, RowSource, Sink
from microbatch.files.sinks import SINKS, new_file, sink_of
from microbatch.files.source import Origin
from microbatch.files.sources import STDIN, Wanted
from microbatch.files.whole_file import WholeFile, refuse_input
from microbatch.jobs.attempts import Failed, whole_block, without_bad_rows
from microbatch.jobs.block_sizes import BlockSizes, bytes_of
from microbatch.jobs.conversion import Conversion
from microbatch.jobs.memory import PeakMemory
from microbatch.jobs.summary import Summary, summarise
from microbatch.jobs.targets import Target, check_arguments, source_digest
from microbatch.options.raised import name_of, text_of
from microbatch.options.sources import resolve
from microbatch.turns.runtime import default_runtime
from microbatch.wrapper import UBatchWrapper

if TYPE_CHECKING:
    # imported where they are asked for: 10 ms of a run that neither resumes nor skips
    from microbatch.files.line_sinks import JsonSink
    from microbatch.jobs.resuming import Resuming

ERRORS = ".errors.jsonl"
"""What the file of failed rows is called after the output."""
ON_ERROR = ("stop", "skip")


class Surroundings(Protocol):
    """What the command line does around a job, and a plain call does not."""

    def opened(self, make: Callable[[], WholeFile]) -> AbstractContextManager[WholeFile]:
        """The file that `make` opens; it is discarded at the end of the block unless it was committed."""
        ...

    def calling(self) -> AbstractContextManager[None]:
        """Around each call of the function."""
        ...

    def progress(self, done: int, total: int) -> None:
        """So many rows are through; `total` is 0 where it is not known."""

    def completing(self) -> None:
        """The output is about to get its name."""

    def tell(self, warning: str) -> None:
        """Say what does not end the job."""


class Plain:
    """Around a job that a program asks for."""

    def __init__(self, progress: Callable[[int, int], None] | None = None) -> None:
        self._progress = progress

    @contextmanager
    def opened(self, make: Callable[[], WholeFile]) -> Iterator[WholeFile]:
        """The file, and nothing else."""
        with make() as file:
            yield file

    def calling(self) -> AbstractContextManager[None]:
        """Errors go to the caller as they are."""
        return nullcontext()

    def progress(self, done: int, total: int) -> None:
        """Tell the caller, who has asked for it."""
        if self._progress is not None:
            self._progress(done, total)

    def completing(self) -> None:
        """Nothing."""

    def tell(self, warning: str) -> None:
        """A warning of Python's."""
        warn(warning, RuntimeWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked for, apart from the target."""

    wanted: Wanted
    """The input."""
    output: Path
    """The file for the result."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the wrapper that were given."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """What a class was made with."""
    resume: bool = False
    """Whether an interrupted run is gone on with, and this one may be."""
    on_error: Literal["stop", "skip"] = "stop"
    """What becomes of rows that the function raises for."""
    no_clobber: bool = False
    """Whether a file that is there stays."""

    def check(self) -> None:
        """Raise where options or the place of the output cannot be; nothing is opened."""
        if self.on_error not in ON_ERROR:
            raise ArgumentValueError(f"on_error is {self.on_error!r}; it must be stop or skip")
        there = check_place(self.output, tuple(SINKS), "written")
        if self.no_clobber and there is not None:
            raise OutputFileError(f"{self.output} is there already; leave --no-clobber out to replace it")
        for place in self.wanted.places:
            if str(place) != STDIN:
                refuse_input(self.output, place)
        if self.resume and STDIN in map(str, self.wanted.places):
            raise ArgumentValueError("standard input cannot be read again to go on; save it to a file first")


class Outputs:
    """The files of a job, from before its input is read."""

    def __init__(self, task: Task, around: Surroundings, stack: ExitStack) -> None:
        """Raises OutputFileError where they cannot be written."""
        self._around = around
        self._stack = stack
        self._task = task
        file = stack.enter_context(around.opened(lambda: new_file(task.output, keeps=task.resume)))
        file.replaces = not task.no_clobber
        self.sink: Sink = sink_of(file, carries=bool(task.wanted.keep))
        self.errors: JsonSink | None = self._errors() if task.on_error == "skip" else None
        self.resuming: Resuming | None = None
        if task.resume:
            from microbatch.jobs.resuming import Resuming

            self.resuming = Resuming(self.sink, self.errors)
            stack.callback(self.resuming.close)

    def made(self) -> WholeFile:
        """A further file for the same output."""
        made = self._stack.enter_context(self._around.opened(lambda: new_file(self._task.output, made=True)))
        made.replaces = not self._task.no_clobber
        return made

    def _errors(self) -> JsonSink:
        from microbatch.files.line_sinks import JsonSink

        path = self._task.output.with_name(f"{self._task.output.name}{ERRORS}")
        made = self._around.opened(lambda: WholeFile(path, (".jsonl",), keeps=self._task.resume))
        return JsonSink(self._stack.enter_context(made))


class Job:
    """Runs one task."""

    def __init__(
        self, task: Task, target: Target, source: RowSource, outputs: Outputs, around: Surroundings
    ) -> None:
        self._task = task
        self._target = target
        self._source = source
        self._outputs = outputs
        self._around = around
        self._clock = default_runtime().monotonic
        self._done = self._resumed = self._failed = 0
        self._reports: list[StepReport] = []
        self._memory = PeakMemory(self._clock)
        backend = task.options.get("backend") or target.backend or resolve(target.config).config.backend
        self._backend = str(backend or "auto")
        self._conversion = Conversion(self._backend)

    def run(self) -> Summary:
        """Run all rows that no earlier run has stored, and give the output its name."""
        resuming = self._outputs.resuming
        complete = None if resuming is None else resuming.rows_of_complete(self._facts())
        if complete is not None:
            file, sink = self._outputs.sink.file, self._outputs.sink
            return summarise([], file, sink, rows=complete, peak_memory_bytes=0, rows_resumed=complete)
        self._go_on()
        options = {
            **({"backend": self._target.backend} if self._target.backend else {}),
            **self._task.options,
        }
        layout = self._target.layout
        with self._conversion.inference(), ExitStack() as stack:
            wrappers: dict[bool, UBatchWrapper] = {}

            def step(inputs: Inputs, out: Allocate | None) -> Any:
                texts = inputs.layout is not None and layout is None
                if texts not in wrappers:
                    wrappers[texts] = stack.enter_context(
                        UBatchWrapper(
                            self._target.runnable,
                            self._target.config,
                            layout=inputs.layout if texts else layout,
                            progress=self._tell,
                            **options,
                        )
                    )
                return self._step(wrappers[texts], inputs, out)

            self._around.progress(self._done, self._source.rows or 0)
            self._blocks(step)
        return self._complete()

    def _go_on(self) -> None:
        resuming = self._outputs.resuming
        if resuming is not None:
            self._done = self._resumed = resuming.begin(self._facts())
            if resuming.damaged:
                self._around.tell(resuming.damaged)
        if self._outputs.errors is not None and self._outputs.errors.shape:
            self._failed = self._outputs.errors.shape[0]
        self._source.skip(self._done)
        self._outputs.sink.expect(self._source.rows)

    def _facts(self) -> dict[str, Any]:
        task, target = self._task, self._target
        return {
            "version": _version(),
            "input": self._source.source.identity,
            "target": target.name,
            "source": source_digest(target.runnable),
            "backend": self._backend,
            "columns": list(task.wanted.columns),
            "keep": list(task.wanted.keep),
            "on_error": task.on_error,
            "arguments": dict(task.arguments),
        }

    def _blocks(self, step: Callable[[Inputs, Allocate | None], Any]) -> None:
        task, sink = self._task, self._outputs.sink
        whole = sink.whole and self._source.whole and self._conversion.on_host and not self._conversion.active
        whole = whole and not task.resume and task.on_error == "stop"
        sizes = BlockSizes(whole=whole, timed=task.resume)
        attempt = whole_block if task.on_error == "stop" else without_bad_rows
        total = self._source.rows
        while total is None or self._done < total or not (self._reports or self._done):
            inputs = self._source.take(sizes.rows, sizes.bytes).bound(self._target.parameters)
            if self._done == self._resumed:
                check_arguments(self._target, inputs)
            if not inputs.rows and (self._done or total):
                self._refuse_fewer(total)
                return
            started = self._clock()
            out = sink.out(self._done, inputs.rows) if self._conversion.on_host else None
            with self._around.calling():
                pieces, failed = attempt(step, inputs, out)
            self._store(
                Block(start=self._done, rows=inputs.rows, pieces=pieces, carried=inputs.carried), failed
            )
            sizes.ran(inputs.rows, self._clock() - started, sum(bytes_of(piece.result) for piece in pieces))
            if not inputs.rows:
                return

    def _refuse_fewer(self, total: int | None) -> None:
        self._source.source.check()
        if total is not None:
            raise InputFileError(
                f"{self._source.source.path} had {total:,} rows and gave {self._done:,}; run again when "
                "nobody "
                "writes to it"
            )

    def _step(self, wrapper: UBatchWrapper, inputs: Inputs, out: Allocate | None) -> Any:
        rows = self._conversion.of(inputs)
        try:
            return wrapper(*rows.args, out=out, **rows.kwargs)
        finally:
            report = wrapper.last_report
            if report is not None and (not self._reports or report is not self._reports[-1]):
                self._reports.append(report)
            self._memory.look()

    def _tell(self, done: int, total: int) -> None:
        self._memory.look()
        self._around.progress(self._done + done, self._source.rows or 0)

    def _store(self, block: Block, failed: list[Failed]) -> None:
        errors = self._outputs.errors
        if block.rows and not block.pieces and not self._done:
            first = failed[0].error
            raise ArgumentValueError(
                f"the function raised for each of the first {block.rows} rows, for the first one "
                f"{name_of(first)}: {text_of(first)}; mend it, and run again"
            )
        self._outputs.sink.store(block)
        if errors is not None:
            errors.store(self._told(block, failed))
            self._failed += len(failed)
        if self._outputs.resuming is not None and block.rows:
            self._outputs.resuming.stored(block.start, block.rows)
        self._done += block.rows

    def _told(self, block: Block, failed: list[Failed]) -> Block:
        """The lines about rows that failed, as rows of their own file."""
        lines = [
            {"row": block.start + each.row, "error": name_of(each.error), "message": text_of(each.error)}
            for each in failed
        ]
        return Block(
            start=self._failed, rows=len(lines), pieces=[Piece(start=0, rows=len(lines), result=lines)]
        )

    def _complete(self) -> Summary:
        outputs = self._outputs
        file = outputs.sink.finish(outputs.made)
        self._source.source.check()
        self._around.completing()
        if outputs.errors is not None:
            outputs.errors.flush()
            outputs.errors.file.commit()
        if outputs.resuming is not None:
            outputs.resuming.completing(file)
        file.commit()
        if outputs.resuming is not None:
            outputs.resuming.done()
        else:
            remove_kept(file.final)
        measured = [report.peak_bytes or 0 for report in self._reports]
        return summarise(
            self._reports,
            file,
            outputs.sink,
            rows=self._done,
            peak_memory_bytes=max(0, self._memory.above_start, *measured),
            rows_resumed=self._resumed,
            rows_failed=self._failed,
            errors=str(outputs.errors.file.path) if outputs.errors is not None and self._failed else "",
        )


def text_if_changed(source: Origin, what: str) -> str:
    """That somebody wrote to the input while it was read, so `what` may be of both; empty where nobody
    did."""
    if not source.changed:
        return ""
    return (
        f"{source.path} was changed while it was read, so {what} may be of rows before and after that; run "
        "again when nobody writes to it"
    )


def _version() -> str:
    """Of microbatch, without its last number; empty where it was not installed."""
    try:
        return importlib.metadata.version("microbatch").rpartition(".")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""
