"""What is said when a command ends before its work is done.

Invariant: what is said of a file is what is on the disk: it is complete if the file of that name is the one
that was being written, and otherwise nothing was written to it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from microbatch.cli.exit_codes import CHANGED, FAILED, SIGNALLED
from microbatch.cli.run_state import Output, RunState

CRASHES = frozenset(
    getattr(signal, name, None) for name in ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
)
"""How compiled code ends a process."""
ERRORS = ".errors.jsonl"
"""How the file beside an output ends, whose fate is that of the output."""
BUS = getattr(signal, "SIGBUS", None)
KILL = getattr(signal, "SIGKILL", None)


def fate(state: RunState) -> str:
    """What became of the output."""
    outputs = state.outputs()
    if not outputs:
        return str(next(iter(state.last("loses")), "nothing was written"))
    outputs = [output for output in outputs if not output.path.endswith(ERRORS)] or outputs
    found = {output.path: output for output in outputs if not output.complete}
    found |= {output.path: output for output in outputs if output.complete or output.begun}
    return "; ".join(map(_fate, found.values()))


def _fate(output: Output) -> str:
    if output.complete:
        return f"{output.path} is complete"
    if output.begun:
        return f"what is done of {output.path} is kept, and the same command goes on from there"
    return f"nothing was written to {output.path}"


def interrupted(state: RunState) -> str:
    """The sentence after a signal that asked the command to end."""
    early = " before the first row" if state.outputs() else ""
    return f"interrupted{_far(state) or early}; {fate(state)}"


def died(state: RunState, number: int) -> tuple[str, int]:
    """The sentence after a signal that nobody here has sent, and the exit code."""
    busy = _busy(state)
    if number == BUS and (cut := _cut_short(state)):
        return f"error: {cut}; run again when nobody writes to it; {fate(state)}", CHANGED
    name = signal.Signals(number).name
    if number == KILL:
        why = f"was killed ({name}){busy}, most often because memory ran out"
        remedy = "; lower --memory-limit or --workers"
    elif number == BUS:
        why, remedy = f"could not read or write a mapped file ({name}){busy}", "; check the disks"
    elif number in CRASHES:
        why, remedy = f"crashed in compiled code ({name}){busy}", ""
    else:
        why, remedy = f"was ended by {name}{busy}", ""
    return f"error: the process {why}; {fate(state)}{remedy}", SIGNALLED + number


def left(state: RunState, code: int) -> tuple[str, int]:
    """The sentence where the process ended itself before its work was done, and the exit code, never 0."""
    return (
        f"error: the process ended with exit code {code}{_busy(state)}, before it was done; {fate(state)}",
        code or FAILED,
    )


def remove_parts(state: RunState) -> None:
    """Remove what a process that is gone left of its files."""
    for output in state.outputs():
        if not output.complete and not output.begun and not output.keeps:
            with suppress(OSError):
                os.unlink(output.part)


def _busy(state: RunState) -> str:
    return f" while {next(iter(state.last('doing')), 'starting')}{_far(state)}"


def _far(state: RunState) -> str:
    done, total = state.rows
    return f" after {done:,} of {total:,} rows" if total else f" after {done:,} rows" if done else ""


def _cut_short(state: RunState) -> str:
    """That the input is shorter than it was; empty where it is not, or where that cannot be seen."""
    noted = state.last("reads")
    if not noted:
        return ""
    path, before = noted
    try:
        now = os.stat(path).st_size
    except OSError:
        return ""
    if now >= before:
        return ""
    return f"{path} was cut short while it was read: it had {before:,} bytes and has {now:,}"
