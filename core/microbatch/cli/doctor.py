"""`microbatch doctor`: why ubatches do not overlap, or why that gains nothing.

Invariant: the function is called twice on all rows that are read, and the second call is what is looked at.
The first one shows whether it may be cut, and sets up what is set up once. The exit code says that there is
an answer, not which.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from microbatch.binding.call import Call
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
from microbatch.cli.run_state import RunState
from microbatch.cli.target import call_of, load_call, tell_if_changed
from microbatch.cli.timeline_file import TimelineFile, check_timeline
from microbatch.errors import InputFileError
from microbatch.files.places import writing
from microbatch.files.sources import Wanted
from microbatch.timeline.timeline import Timeline, record
from microbatch.wrapper import UBatchWrapper


def doctor(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    backend: Backend = None,
    schedule: Annotated[str | None, typer.Option(help="sequential, parallel, pingpong or streamed.")] = None,
    num_ubatches: Annotated[
        int | None, typer.Option(help="Cut each step into this many parts, if so many can be filled.")
    ] = None,
    timeline: TimelineFile = None,
    column: Column = None,
    arg: Arguments = None,
    json: AsJson = False,
) -> None:
    """Say why micro-batches of TARGET do not overlap, or gain nothing."""
    check_timeline(timeline)
    state: RunState = context.obj
    state.loses("there is no answer")
    given = {"backend": backend, "schedule": schedule, "num_ubatches": num_ubatches}
    wanted = Wanted(places=tuple(input), columns=names_in(column))
    with interruptible(state), only_json(json) as out:
        loaded, inputs = load_call(target, wanted, state, arguments_in(arg))
        if not inputs.rows:
            raise InputFileError(f"{inputs.path} has no rows, so nothing can be seen; name a file with some")
        options = {name: value for name, value in given.items() if value is not None}
        options.setdefault("backend", loaded.backend or "auto")
        with users_code(f"{target} failed, so nothing was looked at", REFUSED):
            seen = _second_call(call_of(loaded, inputs), options)
        inputs.source.check()
        tell_if_changed(inputs.source, "the answer")
        if timeline is not None:
            with writing(timeline, "choose another place"):
                seen.save(timeline)
        found = seen.doctor()
        if json:
            print_json({"summary": seen.summary(), "findings": found.findings}, out)
        else:
            print_text(f"{seen.summary()}\n\n{found}")


def _second_call(call: Call, options: dict[str, Any]) -> Timeline:
    """Call the function twice, and record the second time."""
    with UBatchWrapper(call.function, layout=call.layout, **options) as wrapper:
        wrapper(*call.args, **call.kwargs)
        with record() as seen:
            wrapper(*call.args, **call.kwargs)
    return seen
