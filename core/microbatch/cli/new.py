"""`microbatch new policy NAME` and `new backend NAME`: a package to begin a plugin with.

Invariant: what it writes passes its suite as it is, and nothing that was there is touched. The texts are
those of `samples`, files that are linted like all others, with the name put in. Rejected: a template engine,
for four files in which one word changes.
"""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import typer

import microbatch.loading.plugins as known
from microbatch.errors import ArgumentValueError, OutputFileError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""What the name of a plugin looks like, so that it can be that of a package, a module and a class."""
Kind = Literal["policy", "backend"]


def new(
    kind: Annotated[Kind, typer.Argument(help="policy (how large parts are) or backend (a device)")],
    name: Annotated[str, typer.Argument(help="The name that users will write, such as half-life.")],
    to: Annotated[Path, typer.Option(help="The folder in which its folder is made.")] = Path(),
) -> None:
    """Write a package with a plugin to begin with, and its tests."""
    folder = write_package(kind, name, to)
    typer.echo(f"wrote {folder}; now: cd {folder} && pip install -e '.[test]' && pytest -rs")


def write_package(kind: Kind, name: str, to: Path) -> Path:
    """The folder of the package, made in `to`.

    Raises ArgumentValueError for a name that is taken or can be none, OutputFileError where it cannot be
    written.
    """
    _check(kind, name)
    folder = to / f"microbatch-{name}"
    try:
        folder.mkdir(parents=True)
        for text in _texts(kind):
            (folder / named(text.name, name)).write_text(named(text.read_text("utf-8"), name), "utf-8")
    except FileExistsError:
        raise OutputFileError(f"{str(folder)!r} is there already; give another name or folder") from None
    except OSError as error:
        raise OutputFileError(f"{str(folder)!r} cannot be written: {error.strerror or error}") from None
    return folder


def named(text: str, name: str) -> str:
    """`text` of a sample with its name put in: as a module, a class, and as users write it."""
    module = name.replace("-", "_")
    title = "".join(word.capitalize() for word in name.split("-"))
    for sample, own in (
        ("microbatch_sample", f"microbatch_{module}"),
        ("test_sample", f"test_{module}"),
        ("Sample", title),
        ("sample", name),
    ):
        text = text.replace(sample, own)
    return text


def _texts(kind: Kind) -> list[Traversable]:
    found = files("microbatch.cli").joinpath("samples", kind)
    return [file for file in found.iterdir() if file.is_file()]


def _check(kind: Kind, name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ArgumentValueError(
            f"{name!r} can be no name of a plugin; give small letters and digits, with hyphens between words"
        )
    taken = known.policies() if kind == "policy" else known.backends()
    if name in {line.name for line in taken}:
        raise ArgumentValueError(f"there is a {kind} called {name!r} already; give another name")
