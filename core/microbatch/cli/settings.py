"""`microbatch config`: the value of every option for a program started here, and where it comes from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any

import typer

from microbatch.cli.output import one_line, print_json, print_table
from microbatch.cli.parameters import AsJson
from microbatch.options.byte_sizes import format_bytes
from microbatch.options.sources import Resolved, resolve, variable
from microbatch.sizing.policies import policy_names


def config(json: AsJson = False) -> None:
    """Show every option and where its value comes from."""
    resolved = resolve()
    values = {name: getattr(resolved.config, name) for name in resolved.sources}
    for name, meant in misspelt(os.environ, values):
        typer.echo(f"note: {one_line(name)} is no option; did you mean {meant}?", err=True)
    if json:
        print_json({name: {"value": values[name], "source": resolved.sources[name]} for name in values})
        return
    rows = [(name, _shown(name, value), _source(name, resolved)) for name, value in values.items()]
    print_table(("option", "value", "from"), rows)


def misspelt(environment: Iterable[str], fields: Iterable[str]) -> list[tuple[str, str]]:
    """Variables that look like options and are none, each with the option meant.

    Not an error: other programs use the prefix MICROBATCH_ for their own.
    """
    known = [variable(field) for field in fields]
    unknown = sorted(name for name in environment if name.startswith("MICROBATCH_") and name not in known)
    return [
        (name, meant) for name in unknown for meant in difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    ]


def _source(name: str, resolved: Resolved) -> str:
    """Where the value comes from; of the policy also what other options make of it."""
    source, asked = resolved.sources[name], ",".join(policy_names(resolved))
    return f"{source}; here {asked}" if name == "policy" and asked != resolved.config.policy else source


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_bytes(value) if name == "memory_limit" else str(value)
