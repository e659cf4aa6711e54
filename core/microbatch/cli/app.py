"""The command `microbatch`: which subcommands there are, and how errors end it.

Invariant: an error that microbatch raises on purpose ends as one line on standard error and exit code 2,
never as a traceback (MICROBATCH_DEBUG=1 shows it); any other error is a defect and keeps its traceback. A
subcommand's module is imported only when that subcommand, or the help on all of them, is asked for.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Annotated

import typer

from microbatch.cli.output import one_line
from microbatch.errors import MicrobatchError
from microbatch.loading.objects import load_object

__all__ = ["COMMANDS", "build", "main"]

COMMANDS = MappingProxyType(
    {
        "run": "microbatch.cli.run:run",
        "check": "microbatch.cli.check:check",
        "tune": "microbatch.cli.tune:tune",
        "backends": "microbatch.cli.listings:backends",
        "policies": "microbatch.cli.listings:policies",
        "plugins": "microbatch.cli.listings:plugins",
        "config": "microbatch.cli.settings:config",
        "history": "microbatch.cli.history:history",
    }
)
"""Subcommand to the function that is it; its annotations are its options, its docstring is its help."""


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application with the subcommands `names`."""
    app = typer.Typer(
        name="microbatch", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback(invoke_without_command=False, no_args_is_help=True)(_common)
    for name in names:
        app.command(name)(load_object(COMMANDS[name]))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (aborted), 2 (an error that was reported)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    chosen = words[:1] if words[:1] and words[0] in COMMANDS else list(COMMANDS)
    try:
        build(chosen)(words, prog_name="microbatch")
    except MicrobatchError as error:
        if os.environ.get("MICROBATCH_DEBUG", "") not in ("", "0"):
            raise
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except SystemExit as end:  # how typer ends every run
        if end.code is not None and not isinstance(end.code, int):  # the user's own sys.exit("why")
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


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
