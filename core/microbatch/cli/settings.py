"""`microbatch config`: the value of every option for a program started here, where it comes from, and whether
a wrapper could use it.

Invariant: what a wrapper would refuse, now or in its first step, is refused here too, by the very same code,
and the exit code says so; the values are shown all the same.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from microbatch.cli.exit_codes import REFUSED
from microbatch.cli.output import one_line, print_json, print_table
from microbatch.cli.parameters import AsJson
from microbatch.cli.streams import say
from microbatch.errors import ConfigError, MicrobatchError
from microbatch.loading.plugins import default_plugins
from microbatch.options.byte_sizes import format_bytes
from microbatch.options.sources import Resolved, resolve
from microbatch.sizing.history import History
from microbatch.sizing.policies import policy_for, policy_names


def config(json: AsJson = False) -> None:
    """Show every option and where its value comes from."""
    resolved = resolve()
    problems = {name: text for name, check in CHECKS.items() if (text := _problem(check, resolved))}
    values = {name: getattr(resolved.config, name) for name in resolved.sources}
    if json:
        print_json({name: _record(name, value, resolved, problems) for name, value in values.items()})
    else:
        rows = [(name, _shown(name, value), _source(name, resolved)) for name, value in values.items()]
        print_table(("option", "value", "from"), rows)
    for name, text in problems.items():
        say(f"error: {resolved.sources[name]}: {one_line(text)}")
    if problems:
        raise typer.Exit(REFUSED)


def _backend(resolved: Resolved) -> None:
    if resolved.config.backend != "auto":
        default_plugins().backend(resolved.config.backend)


def _policy(resolved: Resolved) -> None:
    policy_for(resolved, default_plugins())


def _driver(resolved: Resolved) -> None:
    if resolved.config.driver == "greenlets":
        import_module("microbatch.turns.greenlets")


def _history(resolved: Resolved) -> None:
    """A file that is there is read; of one that is not, only the folder can be looked at."""
    path = resolved.config.history
    if path is None:
        return
    if os.path.lexists(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            History(path).entries()
    elif not os.access(Path(path).absolute().parent, os.W_OK | os.X_OK):
        raise ConfigError(f"history {path!r} is in no folder that this user may write to; name another")


CHECKS: Mapping[str, Callable[[Resolved], None]] = MappingProxyType(
    {"backend": _backend, "policy": _policy, "driver": _driver, "history": _history}
)
"""Options whose values are right or wrong by what is installed here and what is on the disk."""


def _problem(check: Callable[[Resolved], None], resolved: Resolved) -> str:
    """Why a wrapper cannot use the value; empty where it can."""
    try:
        check(resolved)
    except (MicrobatchError, RuntimeWarning, OSError) as error:
        return str(error)
    return ""


def _record(name: str, value: Any, resolved: Resolved, problems: Mapping[str, str]) -> dict[str, Any]:
    """What `--json` has of an option; `problem` only where there is one."""
    record = {"value": value, "source": resolved.sources[name]}
    return record | {"problem": problems[name]} if name in problems else record


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
