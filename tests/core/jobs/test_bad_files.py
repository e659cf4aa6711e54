"""Over sixty inputs, outputs and results that cannot be, and the sentence that each gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    InputFileError,
    MicrobatchError,
    OutputFileError,
    UnknownNameError,
)

arrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
parquet: Any = pytest.importorskip("pyarrow.parquet")
image: Any = pytest.importorskip("PIL.Image", reason="needs Pillow (extra images)")


def write(name: str, data: bytes | str) -> str:
    """A file of these bytes."""
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def table(columns: dict[str, Any], name: str = "x.parquet") -> str:
    """A Parquet file."""
    parquet.write_table(arrow.table(columns), name)
    return name


def folder(*names: str) -> str:
    """A folder of empty files."""
    Path("folder").mkdir()
    for name in names:
        write(f"folder/{name}", b"")
    return "folder"


def picture(name: str, data: bytes = b"") -> str:
    """An image, or these bytes under its name."""
    if data:
        return write(name, data)
    image.new("RGB", (4, 4)).save(name)
    return name


def cut_image(name: str) -> str:
    """An image whose head is whole and whose rows are not."""
    image.effect_noise((64, 64), 50).save(name)
    write(name, Path(name).read_bytes()[:900])
    return name


def same(x: Any) -> Any:
    """What comes in."""
    return x


def two(x: Any, y: Any) -> Any:
    """Needs two."""
    return x


Bad = tuple[Callable[[], Any], dict[str, Any], type[MicrobatchError], str]
I, A, U = InputFileError, ArgumentValueError, UnknownNameError
INPUTS: dict[str, Bad] = {
    "nothing there": (lambda: "no.parquet", {}, I, "no.parquet does not exist; name an input file"),
    "unknown kind": (lambda: write("x.xls", b""), {}, I, "x.xls is of no kind that can be read; name one of"),
    "no kind": (lambda: write("x", b""), {}, I, "x is of no kind"),
    "empty folder": (lambda: folder(), {}, I, "folder is a folder without a file that can be read"),
    "folder of other files": (lambda: folder("a.doc"), {}, I, "without a file that can be read"),
    "folder of two kinds": (lambda: folder("a.csv", "b.parquet"), {}, I, "files of the kinds .csv, .parquet"),
    "pattern without files": (lambda: "*.parquet", {}, I, r"\*.parquet matches no file"),
    "two kinds": (lambda: [table({"x": [1]}), write("x.csv", "x\n1\n")], {}, I, "name one kind"),
    "two of a kind that is read alone": (
        lambda: [write("a.jsonl", "1\n"), write("b.jsonl", "1\n")],
        {},
        A,
        "2 .jsonl files were given, and one at a time is read; join them first",
    ),
    "a FIFO": (lambda: os.mkfifo("x.csv") or "x.csv", {}, I, "x.csv is a FIFO; name a regular file"),
    "a folder named like a file": (lambda: os.mkdir("x.csv") or "x.csv", {}, I, "x.csv is a folder"),
    "parquet of no bytes": (
        lambda: write("x.parquet", b""),
        {},
        I,
        "x.parquet cannot be read .* write the file",
    ),
    "parquet that is text": (lambda: write("x.parquet", "hello"), {}, I, "x.parquet cannot be read"),
    "second file damaged": (
        lambda: [table({"x": [1]}, "a.parquet"), write("b.parquet", b"PAR1 PAR1")],
        {},
        I,
        "a.parquet cannot be read",
    ),
    "arrow that is no file": (lambda: write("x.arrow", b"ARROW1"), {}, I, "x.arrow cannot be read"),
    "no columns": (lambda: table({}), {}, I, "x.parquet has no columns"),
    "several columns and no choice": (
        lambda: table({"a": [1], "b": [2]}),
        {},
        A,
        "x.parquet has the columns a, b; choose one with --column, or several",
    ),
    "a column that is not there": (
        lambda: table({"text": ["a"]}),
        {"columns": ["txet"]},
        U,
        "x.parquet has no column 'txet'; did you mean 'text'",
    ),
    "a kept column that is not there": (
        lambda: table({"idents": [1], "x": [1]}),
        {"columns": ["x"], "keep": ["ident"], "output": "y.parquet"},
        U,
        "has no column 'ident'; did you mean 'idents'",
    ),
    "columns that are no parameters": (
        lambda: table({"a": [1], "b": [2]}),
        {"columns": ["a", "b"], "f": lambda a, c: a},
        I,
        "holds 'b', which is no parameter",
    ),
    "too many columns": (
        lambda: table({"a": [1], "b": [2]}),
        {"columns": ["a", "b"]},
        A,
        r"cannot be called with 2 arrays from x.parquet",
    ),
    "one column of two": (lambda: table({"x": [1]}), {"f": two}, A, "cannot be called with 1 array"),
    "a gap": (lambda: table({"x": [1, None, 2]}), {}, I, "column 'x' has no value in row 1; fill or drop"),
    "a gap in texts": (lambda: table({"x": ["a", None]}), {}, I, "column 'x' has no value in row 1"),
    "a gap far down": (
        lambda: table({"x": [*range(9000), None]}),
        {},
        I,
        "column 'x' has no value in row 9000; fill or drop",
    ),
    "nothing but gaps": (lambda: table({"x": [None, None]}), {}, I, "column 'x' has no value in row 0"),
    "a gap in a list": (lambda: table({"x": [[1, 2], [3, None]]}), {}, I, "has no value in row 1"),
    "lists of several lengths": (
        lambda: table({"x": [[1], [2, 3]]}),
        {},
        I,
        "'x' is lists of 1 and of 2 values",
    ),
    "a longer list far down": (
        lambda: table({"x": [[1]] * 9000 + [[1, 2]]}),
        {},
        I,
        "'x' is lists of 1 and of 2 values, which is no array",
    ),
    "lists of texts": (lambda: table({"x": [["a"], ["b"]]}), {}, I, "'x' is list.* which is no array"),
    "two columns of one name": (
        lambda: parquet.write_table(arrow.table([[1], [2]], names=["x", "x"]), "x.parquet") or "x.parquet",
        {"columns": ["x"]},
        I,
        "x.parquet has two columns 'x'|cannot be read",
    ),
    "csv of no bytes": (lambda: write("x.csv", b""), {}, I, "x.csv cannot be read"),
    "csv with a long line": (
        lambda: write("x.csv", "a,b\n1,2\n1,2,3\n"),
        {"columns": ["a"]},
        I,
        "x.csv cannot be",
    ),
    "csv with a gap": (lambda: write("x.csv", "x,y\n1,2\n,3\n"), {"columns": ["x"]}, I, "no value in row 1"),
    "csv of two kinds": (
        lambda: write("x.csv", "x\n" + "1\n" * 5_000_000 + "word\n"),
        {},
        I,
        "x.csv cannot be read .*; mend the line, or save the rows as Parquet, whose columns have types",
    ),
    "csv that is not UTF-8": (
        lambda: write("x.csv", "x\né\n".encode("latin-1")),
        {},
        I,
        "column 'x' is not UTF-8; save",
    ),
    "jsonl that is no JSON": (lambda: write("x.jsonl", '{"a": 1}\n{a: 1}\n'), {}, I, "line 2 is no JSON"),
    "jsonl with an empty line": (lambda: write("x.jsonl", "1\n\n2\n"), {}, I, "line 2 is no JSON"),
    "jsonl of two kinds": (
        lambda: write("x.jsonl", '{"a": 1}\n3\n'),
        {},
        I,
        "line 2 is no object while those",
    ),
    "jsonl of two kinds, the other way": (
        lambda: write("x.jsonl", '3\n{"a": 1}\n'),
        {},
        I,
        "line 2 is object while those before are not",
    ),
    "jsonl with a gap": (
        lambda: write("x.jsonl", '{"x": 1, "y": 1}\n{"y": 2}\n'),
        {"columns": ["x"]},
        I,
        "column 'x' has no value in row 1",
    ),
    "jsonl with a gap at first": (
        lambda: write("x.jsonl", '{"y": 1}\n{"x": 1, "y": 2}\n'),
        {"columns": ["x"]},
        I,
        "column 'x' has no value in row 0",
    ),
    "jsonl of ragged numbers": (
        lambda: write("x.jsonl", "[1]\n[1, 2]\n"),
        {},
        I,
        r"numbers of the shapes \[1\] and",
    ),
    "jsonl of numbers and lists": (
        lambda: write("x.jsonl", "1\n[1]\n"),
        {},
        I,
        r"numbers of the shapes \[\] and",
    ),
    "jsonl that is not UTF-8": (lambda: write("x.jsonl", b'"\xe9"\n'), {}, I, "line 1 is not UTF-8"),
    "jsonl without such a column": (
        lambda: write("x.jsonl", '{"text": 1, "y": 2}\n'),
        {"columns": ["tex"]},
        U,
        "no column 'tex'; did you mean 'text'",
    ),
    "jsonl of several columns and no choice": (
        lambda: write("x.jsonl", '{"a": 1, "b": 2}\n'),
        {},
        A,
        "has the columns a, b; choose one",
    ),
    "a column of an array": (
        lambda: np.save("x.npy", np.ones(2)) or "x.npy",
        {"columns": ["a"]},
        A,
        "no columns to",
    ),
    "a column of lines": (lambda: write("x.txt", "a\n"), {"columns": ["a"]}, A, "leave --column out"),
    "columns to keep of lines": (
        lambda: write("x.txt", "a\n"),
        {"keep": ["a"], "output": "y.parquet"},
        A,
        "x.txt is a .txt file, which has no columns to name; leave --keep out",
    ),
    "lines that are not UTF-8": (lambda: write("x.txt", b"a\n\xe9\n"), {}, I, "line 2 is not UTF-8"),
    "an image that is none": (
        lambda: picture("x.png", b"hello"),
        {},
        I,
        "x.png cannot be read .* save the image",
    ),
    "an image that was cut": (lambda: cut_image("x.png"), {}, I, "x.png cannot be read"),
    "an image and a table": (lambda: [picture("x.png"), table({"x": [1]})], {}, I, "name one kind"),
    "a column of images": (
        lambda: picture("x.png"),
        {"columns": ["a"]},
        A,
        "is images, which have no columns",
    ),
    "another column to keep of images": (
        lambda: picture("x.png"),
        {"keep": ["size"], "output": "y.jsonl", "f": lambda x: [1]},
        A,
        "x.png is images, of which 'file' can be kept, and not 'size'",
    ),
}
O = OutputFileError
RESULTS: dict[str, tuple[Any, str, type[MicrobatchError], str]] = {
    "a sum in .jsonl": (lambda x: 3, "y.jsonl", O, "returned int, which has no entry for each of 20 rows"),
    "too few in .parquet": (
        lambda x: list(x)[:-1],
        "y.parquet",
        O,
        "returned list of 19, which has no entry",
    ),
    "texts in .npy": (
        lambda x: [str(v) for v in x],
        "y.npy",
        O,
        "returned list, no array with a row for each",
    ),
    "dictionaries in .npy": (
        lambda x: [{"a": 1} for _ in x],
        "y.npy",
        O,
        "use .npz for several arrays|is a list",
    ),
    "several arrays in .npy": (lambda x: (x, x), "y.npy", O, "returns several arrays and y.npy holds one"),
    "a table in .npy": (lambda x: arrow.table({"a": x}), "y.npy", O, "returned|cannot|is a"),
    "nothing in .npy": (lambda x: None, "y.npy", O, "returned NoneType|is a NoneType"),
    "texts in .npz": (lambda x: {"a": [object() for _ in x]}, "y.npz", O, "no array of numbers"),
    "numbers in .txt": (lambda x: x, "y.txt", O, "row 0 of the result is float, and y.txt holds texts"),
    "line breaks in .txt": (
        lambda x: ["a\nb" for _ in x],
        "y.txt",
        O,
        "row 0 of the result has a line break",
    ),
    "half characters in .txt": (lambda x: ["\ud800" for _ in x], "y.txt", O, "row 0 .* half a character"),
    "objects in .jsonl": (lambda x: [object() for _ in x], "y.jsonl", O, "row 0 of the result is no JSON"),
    "mixed values in .parquet": (
        lambda x: [1 if i else "a" for i in range(len(x))],
        "y.parquet",
        O,
        "cannot be a column of y.parquet",
    ),
    "a kept name in the result": (
        lambda x: {"id": list(x)},
        "y.parquet",
        O,
        "'id', which is kept of the input",
    ),
    "a kept name in rows": (
        lambda x: [{"id": 1} for _ in x],
        "y.jsonl",
        O,
        "'id', which is kept of the input",
    ),
}
OUTPUTS: dict[str, tuple[dict[str, Any], type[MicrobatchError], str]] = {
    "unknown kind": (
        {"output": "y.csv"},
        O,
        "y.csv is of no kind that can be written; name one of .npy, .npz",
    ),
    "no folder": ({"output": "no/y.jsonl"}, O, "the folder of no/y.jsonl does not exist"),
    "a folder": ({"output": "folder.jsonl"}, O, "folder.jsonl is a folder"),
    "the input": ({"output": "x.parquet"}, O, "x.parquet is the input file itself"),
    "kept in an array": (
        {"output": "y.npy", "keep": ["id"]},
        A,
        "y.npy has no room for columns to keep; use .parq",
    ),
    "kept in texts": ({"output": "y.txt", "keep": ["id"]}, A, "y.txt has no room for columns to keep"),
    "unknown treatment": (
        {"output": "y.npy", "on_error": "ignore"},
        A,
        "on_error is 'ignore'; it must be stop or",
    ),
    "standard input twice": (
        {"input": "-", "output": "y.npy", "resume": True},
        A,
        "standard input cannot be read",
    ),
    "a column of standard input": (
        {"input": "-", "output": "y.npy", "columns": ["a"]},
        A,
        "standard input is lines",
    ),
    "unknown option": ({"output": "y.npy", "wrokers": 2}, MicrobatchError, "wrokers"),
    "unknown backend": ({"output": "y.npy", "backend": "cpuu"}, U, "did you mean 'cpu'"),
    "no function": ({"output": "y.npy", "f": 3}, ArgumentTypeError, "int cannot be called"),
    "a class": ({"output": "y.npy", "f": dict}, ArgumentTypeError, "class dict was given; pass an instance"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_sixty_of_them() -> None:
    assert len(INPUTS) + len(RESULTS) + len(OUTPUTS) >= 60


def refused(given: dict[str, Any], kind: type[MicrobatchError], text: str) -> None:
    """The sentence, with its remedy, and no file."""
    before = sorted(os.listdir())
    with pytest.raises(kind, match=text) as caught:
        microbatch.run_file(**given)
    said = str(caught.value)
    assert "\n" not in said.partition("\nin ubatch")[0]
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(name: str) -> None:
    """Refused before the function is called, or with the file's own fault."""
    make, more, kind, text = INPUTS[name]
    refused({"f": same, "input": make(), "output": "y.npy"} | more, kind, text)


@pytest.mark.parametrize("name", RESULTS)
def test_results(name: str) -> None:
    """Refused with the first block."""
    function, output, kind, text = RESULTS[name]
    table({"id": list(range(20)), "x": [float(row) for row in range(20)]})
    keep = ["id"] if "kept" in name else []
    refused(
        {"f": function, "input": "x.parquet", "columns": ["x"], "output": output, "keep": keep}, kind, text
    )


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str) -> None:
    """Refused before anything is read."""
    more, kind, text = OUTPUTS[name]
    table({"id": [1, 2], "x": [1.0, 2.0]})
    os.mkdir("folder.jsonl")
    refused({"f": same, "input": "x.parquet", "columns": ["x"]} | more, kind, text)
