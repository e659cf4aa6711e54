"""Which files an input is, and who reads them.

Invariant: everything that can be wrong with the name of an input, and with the files themselves, is found
before the first row is worked on. A folder is all of its files whose kind can be read, which must be one
kind, in the order of their names; a name with `*` or `?` that is no file stands for the files that it
matches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microbatch.errors import ArgumentValueError, InputFileError
from microbatch.files.image_rows import NAME, ImageRows
from microbatch.files.image_rows import SUFFIXES as IMAGES
from microbatch.files.inputs import Inputs
from microbatch.files.protocols import RowSource
from microbatch.files.source import Several, Source, parsing

ARROW = {".parquet": "parquet", ".arrow": "feather", ".feather": "feather", ".csv": "csv"}
"""Suffix to pyarrow's name of the format."""
KINDS = (".npy", ".npz", ".parquet", ".txt", ".csv", ".jsonl", ".arrow", ".feather")
"""Kinds of files with rows, beside images."""
STDIN = "-"
REMEDIES = {
    ".npy": "write it with numpy.save",
    ".npz": "write it with numpy.savez and no objects in it",
    ".txt": "save it as UTF-8 text",
    ".jsonl": "write one value a line",
}
"""What to do about a file that is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are asked for."""

    places: tuple[Path, ...]
    """Files, folders, or `-`."""
    columns: tuple[str, ...] = ()
    """The columns that go to the function; none: those that it has parameters for."""
    keep: tuple[str, ...] = ()
    """The columns that go to the output."""


def open_rows(wanted: Wanted) -> RowSource:
    """Open the input.

    Raises InputFileError for a file that is missing, damaged, not a regular file, or of an unknown kind,
    InputChangedError where it became shorter meanwhile, ArgumentValueError for what does not go together.
    """
    shown = wanted.places[0]
    if [str(place) for place in wanted.places] == [STDIN]:
        _refuse_columns(wanted, "standard input", "is lines, which have")
        from microbatch.files.line_rows import open_stdin

        return open_stdin()
    paths = [path for place in wanted.places for path in _files(place)]
    kind = _kind_of(paths, shown)
    _check_columns(wanted, shown, kind)
    if kind in IMAGES:
        return _images(wanted, shown, paths)
    if len(paths) > 1 and kind not in ARROW:
        raise ArgumentValueError(
            f"{len(paths)} {kind} files were given, and one at a time is read; join them first"
        )
    source = Source(paths[0]) if len(paths) == 1 else Several(shown, paths)
    if kind in ARROW:
        from microbatch.files.arrow_rows import ArrowRows

        return ArrowRows(source, paths, ARROW[kind], wanted.columns, wanted.keep)
    assert isinstance(source, Source)
    with parsing(source, REMEDIES[kind]):
        return _one_file(source, kind, wanted)


def read_inputs(path: Path, *, column: str | None = None) -> Inputs:
    """All rows of one file as one batch. Raises as `open_rows`."""
    rows = open_rows(Wanted(places=(path,), columns=() if column is None else (column,)))
    rows.prepare(None)
    inputs = rows.take(1 << 62)
    if not rows.whole and isinstance(rows.source, Source):
        rows.source.settle()
    return inputs


def _one_file(source: Source, kind: str, wanted: Wanted) -> RowSource:
    if kind == ".jsonl":
        from microbatch.files.json_rows import JsonRows

        return JsonRows(source, wanted.columns, wanted.keep)
    if kind == ".txt":
        from microbatch.files.line_rows import open_txt

        return open_txt(source)
    from microbatch.files.array_rows import open_npy, open_npz

    return open_npy(source) if kind == ".npy" else open_npz(source, wanted.keep)


def _images(wanted: Wanted, shown: Path, paths: list[Path]) -> RowSource:
    other = [name for name in wanted.keep if name != NAME]
    if other:
        raise ArgumentValueError(f"{shown} is images, of which {NAME!r} can be kept, and not {other[0]!r}")
    return ImageRows(Several(shown, paths), paths, carried=bool(wanted.keep))


def _files(place: Path) -> list[Path]:
    if os.path.isdir(place) and place.suffix.lower() not in KINDS:
        try:
            names = sorted(os.listdir(place))
        except OSError as error:
            raise InputFileError(f"{place} cannot be looked into ({error.strerror}); name another") from None
        found = [place / name for name in names if Path(name).suffix.lower() in (*KINDS, *IMAGES)]
        if not found:
            raise InputFileError(f"{place} is a folder without a file that can be read; name one with some")
        return found
    if any(mark in str(place) for mark in "*?") and not os.path.lexists(place):
        import glob

        found = [Path(name) for name in sorted(glob.glob(str(place), recursive=True))]
        if not found:
            raise InputFileError(f"{place} matches no file; name an input file")
        return found
    return [place]


def _kind_of(paths: Sequence[Path], shown: Path) -> str:
    kinds = {path.suffix.lower() for path in paths}
    unknown = next((path for path in paths if path.suffix.lower() not in (*KINDS, *IMAGES)), None)
    if unknown is not None:
        raise InputFileError(
            f"{unknown} is of no kind that can be read; name one of {', '.join(KINDS)}, images, or - for "
            "lines of "
            "standard input"
        )
    if len(kinds) > 1 and not kinds <= set(IMAGES):
        raise InputFileError(
            f"{shown}: files of the kinds {', '.join(sorted(kinds))} were given; name one kind"
        )
    return kinds.pop()


def _check_columns(wanted: Wanted, shown: Path, kind: str) -> None:
    if kind in (".npy", ".txt"):
        _refuse_columns(wanted, str(shown), f"is a {kind} file, which has")
    elif wanted.columns and kind in IMAGES:
        raise ArgumentValueError(f"{shown} is images, which have no columns to name; leave --column out")
    elif wanted.columns and kind == ".npz":
        raise ArgumentValueError(
            f"{shown} is a {kind} file, which has no columns to name; leave --column out"
        )


def _refuse_columns(wanted: Wanted, shown: str, text: str) -> None:
    option = "--column" if wanted.columns else "--keep" if wanted.keep else ""
    if option:
        raise ArgumentValueError(f"{shown} {text} no columns to name; leave {option} out")
