"""What the site shows of the code itself: the help of every command, as it is when the site is built.

Invariant: nothing of it is written down twice, so nothing can be out of date. A page says where with
`<!-- help of every command -->`.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

MARK = "<!-- help of every command -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return markdown.replace(MARK, help_of_every_command()) if MARK in markdown else markdown


def help_of_every_command() -> str:
    """A heading and what `--help` prints, for the command and each of its subcommands."""
    from microbatch.cli.app import COMMANDS

    return "\n".join(section(name) for name in ("", *COMMANDS))


def section(name: str) -> str:
    title = " ".join(filter(None, ["microbatch", name]))
    return f"### {title}\n\n```text\n{help_of(name)}\n```\n"


def help_of(name: str) -> str:
    """What `microbatch NAME --help` prints on a terminal of 100 columns."""
    from microbatch.cli.app import main

    os.environ["COLUMNS"] = "100"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main([*filter(None, [name]), "--help"])
    return said.getvalue().strip()
