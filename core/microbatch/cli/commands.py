"""One command line in this process: its subcommand, and how errors end it.

Invariant: an error that microbatch raises on purpose ends as one line on standard error and the exit code
that `exit_codes.py` has for it, never as a traceback (MICROBATCH_DEBUG=1 shows it); any other error is a
defect and keeps its traceback. A subcommand's module is imported only when that subcommand, or the help on
all of them, is asked for.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from microbatch.cli.endings import fate
from microbatch.cli.exit_codes import CHANGED, DONE, REFUSED, TABLE, UNHEARD
from microbatch.cli.output import one_line
from microbatch.cli.run_state import RunState
from microbatch.cli.streams import guarded, say
from microbatch.errors import InputChangedError, MicrobatchError
from microbatch.loading.objects import load_object
from microbatch.options.unknown_variables import unknown_variables

HELP = {"help_option_names": ["-h", "--help"]}
"""How help is asked for."""


def build(known: Mapping[str, str], names: Iterable[str]) -> typer.Typer:
    """The application with the subcommands `names` of `known`."""
    app = typer.Typer(
        name="microbatch",
        context_settings=HELP,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(invoke_without_command=False, no_args_is_help=True, epilog=TABLE)(_common)
    for name in names:
        app.command(name, epilog=TABLE, context_settings=HELP)(load_object(known[name]))
    return app


def execute(words: list[str], known: Mapping[str, str], state: RunState | None) -> int:
    """Run the command line `words` and return its exit code."""
    state = state or RunState()
    with guarded() as out, warnings.catch_warnings():
        for text in unknown_variables(os.environ):
            say(f"warning: {one_line(text)}")
            warnings.filterwarnings("ignore", re.escape(text))  # a wrapper would say it again
        code = _run(words, known, state)
        out.flush()
        if out.failed is None:
            return code
        _tell_unheard(out.failed, state)
        return UNHEARD if code == DONE else code


def _run(words: list[str], known: Mapping[str, str], state: RunState) -> int:
    chosen = words[:1] if words[:1] and words[0] in known else list(known)
    try:
        build(known, chosen)(words, prog_name="microbatch", obj=state)
    except MicrobatchError as error:
        if os.environ.get("MICROBATCH_DEBUG", "") not in ("", "0"):
            raise
        changed = isinstance(error, InputChangedError)
        lost = f"; {fate(state)}" if changed else ""  # otherwise the text says it, or nothing was begun
        say(f"error: {one_line(str(error))}{lost}")
        return CHANGED if changed else REFUSED
    except SystemExit as end:  # how typer ends every run
        if end.code is not None and not isinstance(end.code, int):  # the user's own sys.exit("why")
            say(str(end.code))
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return DONE


def _tell_unheard(error: OSError | ValueError, state: RunState) -> None:
    """Say it, unless nothing was written and the reader has gone, who then wants to hear no more."""
    if state.outputs() or not isinstance(error, BrokenPipeError):
        done = f"{fate(state)}, but " if state.outputs() else ""
        reason = getattr(error, "strerror", None) or str(error)
        say(f"error: {done}standard output could not be written ({reason})")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"microbatch {importlib.metadata.version('microbatch')}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run a step as micro-batches: nothing lost, fits, fast."""
