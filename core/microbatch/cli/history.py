"""`microbatch history`: what was learned in earlier runs, and how to forget it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from microbatch.cli.output import print_json, print_table
from microbatch.cli.parameters import AsJson
from microbatch.errors import ConfigError, InputFileError
from microbatch.options.sources import resolve
from microbatch.options.unknown_variables import variable
from microbatch.sizing.history import History

PATIENCE = 10.0
"""Seconds that reading or writing may take: here somebody waits for just that."""


def history(
    action: Annotated[
        Literal["show", "clear"], typer.Argument(help="show lists it, clear forgets it")
    ] = "show",
    path: Annotated[
        Path | None, typer.Option(help="The file; the configured one if not given.", readable=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only entries of this model.")] = None,
    json: AsJson = False,
) -> None:
    """Show or clear the sizes kept across runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            _history(History(_path(path), limit=PATIENCE), action, model, json=json)
        except RuntimeWarning as warning:  # in a run a warning; here the file is all there is
            what = str(warning).partition(";")[0]
            raise InputFileError(f"{what}; name a file that a run has kept") from None


def _history(file: History, action: str, model: str | None, *, json: bool) -> None:
    if action == "clear":
        gone = file.clear(model)
        print_json({"forgotten": gone}) if json else typer.echo(f"forgot {gone} entries of {file.path}")
        return
    entries = [entry for entry in file.entries() if model in (None, entry.fields.get("model"))]
    if json:
        print_json(entries)
    elif not entries:
        typer.echo(f"{file.path} holds nothing{'' if model is None else f' of the model {model!r}'}")
    else:
        names = ("model", "policy", "backend", "device", "workers", "versions")
        rows = [(*(str(entry.fields.get(name, "")) for name in names), entry.changed) for entry in entries]
        print_table((*names, "changed (UTC)"), rows)


def _path(given: Path | None) -> Path:
    chosen = given or resolve().config.history
    if chosen is None:
        raise ConfigError(f"no history is configured; pass --path, or set {variable('history')}")
    if not os.path.lexists(chosen):
        raise InputFileError(
            f"history {str(chosen)!r} does not exist; it is made by the first run that uses it"
        )
    if not os.path.isfile(chosen):
        raise InputFileError(f"history {str(chosen)!r} is no regular file; name a file that a run has kept")
    return Path(chosen)
