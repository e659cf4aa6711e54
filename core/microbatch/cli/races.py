"""`microbatch races`: does this function of torch lack a wait between its streams?

Invariant: the exit code is the answer: 0 nothing is unordered, 1 something is, 2 there is no answer (bad
options, or the function failed and nothing was unordered). No device is needed, and none is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from microbatch.arrays.trees import leaves_of
from microbatch.binding.call import Call
from microbatch.cli.exit_codes import FAILED, REFUSED
from microbatch.cli.failures import interruptible, users_code
from microbatch.cli.output import only_json, print_json, print_text
from microbatch.cli.parameters import (
    Arguments,
    AsJson,
    Column,
    RowsFile,
    TargetName,
    arguments_in,
    names_in,
)
from microbatch.cli.run_state import RunState
from microbatch.cli.target import call_of, load_call, tell_if_changed
from microbatch.files.sources import Wanted
from microbatch.testing.race_report import Unordered, unordered
from microbatch.testing.torch import TorchDevice, torch_device


@dataclass(frozen=True, slots=True, kw_only=True)
class RacesReport:
    """What was found in one call."""

    rows: int
    """Rows of the call."""
    unordered: Sequence[Unordered]
    """Pairs of accesses that nothing orders."""

    def text(self, target: str) -> str:
        """For people."""
        if not self.unordered:
            return f"{target} orders all that its streams do (one call of {self.rows} rows)"
        pairs = [f"{number}. {pair}" for number, pair in enumerate(self.unordered, 1)]
        head = f"{target} has work that nothing orders, in one call of {self.rows} rows:"
        return "\n".join([head, *pairs])


def races(
    context: typer.Context,
    target: TargetName,
    input: RowsFile,
    rows: Annotated[int, typer.Option(help="Most rows of the call, spread over the file.")] = 64,
    column: Column = None,
    arg: Arguments = None,
    json: AsJson = False,
) -> None:
    """Name the waits that the CUDA streams of TARGET lack."""
    state: RunState = context.obj
    state.loses("there is no answer")
    wanted = Wanted(places=tuple(input), columns=names_in(column))
    with interruptible(state), only_json(json) as out, torch_device() as device:
        loaded, inputs = load_call(target, wanted, state, arguments_in(arg))
        sample = inputs.sample(rows)
        with users_code(f"{target} failed, and nothing was unordered until then", REFUSED):
            found = _found(device, call_of(loaded, sample))
        inputs.source.check()
        tell_if_changed(inputs.source, "the answer")
        report = RacesReport(rows=sample.rows, unordered=found)
        if json:
            print_json(report, out)
        else:
            print_text(report.text(target))
    if report.unordered:
        raise typer.Exit(FAILED)


def _found(device: TorchDevice, call: Call) -> tuple[Unordered, ...]:
    """What one call leaves unordered; the caller then reads the result, as callers do.

    Work that reads what was not written yet may fail of it, so an error counts only where nothing is
    unordered.
    """
    returned = None
    try:
        result = call.function(*call.args, **call.kwargs)
        returned = device.noted
        for leaf in leaves_of(result):
            if device.owns(leaf):
                leaf.cpu()
        device.cuda.synchronize()
    except Exception:
        found = unordered(device.races(), returned)
        if not found:
            raise
        return found
    return unordered(device.races(), returned)
