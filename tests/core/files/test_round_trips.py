"""Drawn tables through every kind of input and output: what goes in reaches the function, and comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbatch.files.protocols import Block, Piece
from microbatch.files.sinks import new_file, sink_of
from microbatch.files.sources import Wanted, open_rows

arrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
parquet: Any = pytest.importorskip("pyarrow.parquet")
csv: Any = pytest.importorskip("pyarrow.csv")
feather: Any = pytest.importorskip("pyarrow.feather")

SOME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
whole = st.integers(-(2**40), 2**40)
values = {
    "n": whole,
    "x": numbers,
    "t": texts,
    "b": st.booleans(),
    "pair": st.lists(numbers, min_size=2, max_size=2),
    "grid": st.lists(st.lists(whole, min_size=2, max_size=2), min_size=3, max_size=3),
    "nested": st.fixed_dictionaries({"a": whole, "b": st.lists(texts, max_size=2)}),
}
TYPES: dict[str, Any] = {
    "n": arrow.int64(),
    "x": arrow.float32(),
    "t": arrow.string(),
    "b": arrow.bool_(),
    "pair": arrow.list_(arrow.float32()),
    "grid": arrow.list_(arrow.list_(arrow.int64())),
    "nested": arrow.struct([("a", arrow.int64()), ("b", arrow.list_(arrow.string()))]),
}


@st.composite
def tables(draw: st.DrawFn, names: tuple[str, ...] = tuple(values)) -> dict[str, list[Any]]:
    """Columns of as many rows, none and one often."""
    rows = draw(st.sampled_from([0, 1, 2, 7, 30]))
    return {name: draw(st.lists(values[name], min_size=rows, max_size=rows)) for name in names}


def in_arrow(columns: dict[str, list[Any]]) -> Any:
    """As a table."""
    return arrow.table({name: arrow.array(each, TYPES[name]) for name, each in columns.items()})


def write_parquet(columns: dict[str, list[Any]], folder: Path) -> Path:
    """In small row groups."""
    parquet.write_table(in_arrow(columns), folder / "x.parquet", row_group_size=5)
    return folder / "x.parquet"


def write_several(columns: dict[str, list[Any]], folder: Path) -> Path:
    """In files of a folder, the first of them empty."""
    (folder / "x").mkdir(exist_ok=True)
    table = in_arrow(columns)
    for number, start in enumerate([0, 0, 11]):
        stop = [0, 11, table.num_rows][number]
        parquet.write_table(table.slice(start, max(0, stop - start)), folder / f"x/{number}.parquet")
    return folder / "x"


def write_arrow(columns: dict[str, list[Any]], folder: Path) -> Path:
    """Uncompressed, with chunks."""
    feather.write_feather(in_arrow(columns), str(folder / "x.arrow"), compression="uncompressed", chunksize=4)
    return folder / "x.arrow"


def write_csv(columns: dict[str, list[Any]], folder: Path) -> Path:
    """Texts in quotes."""
    csv.write_csv(in_arrow(columns), folder / "x.csv", csv.WriteOptions(quoting_style="all_valid"))
    return folder / "x.csv"


def write_jsonl(columns: dict[str, list[Any]], folder: Path) -> Path:
    """An object a line."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=bool(len(rows) % 2)) + "\n" for row in rows)
    (folder / "x.jsonl").write_text(lines, "utf-8", newline="\n")
    return folder / "x.jsonl"


Writer = Callable[[dict[str, list[Any]], Path], Path]
WRITERS: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "parquet": (write_parquet, tuple(values)),
    "several": (write_several, tuple(values)),
    "arrow": (write_arrow, tuple(values)),
    "csv": (write_csv, ("n", "x", "t")),
    "jsonl": (write_jsonl, tuple(values)),
}


def plain(value: Any) -> Any:
    """Of Python's own types, with numbers as they are in 32 bits."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, list):
        return [plain(each) for each in value]
    return {name: plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def taken(path: Path, names: tuple[str, ...], step: int, skip: int = 0) -> dict[str, list[Any]]:
    """All rows from `skip` on, so many at a time."""
    source = open_rows(Wanted(places=(path,), columns=names))
    source.prepare(None)
    source.skip(skip)
    found: dict[str, list[Any]] = {name: [] for name in names}
    while (block := source.take(step)).rows:
        given_ = dict(zip(names, block.args, strict=True)) if block.args else block.kwargs
        for name in names:
            assert len(given_[name]) == block.rows <= step
            found[name] += plain(list(given_[name]) if isinstance(given_[name], list) else given_[name])
    return found


@pytest.mark.parametrize("kind", WRITERS)
@SOME
@given(data=st.data(), step=st.integers(1, 40))
def test_what_goes_in(tmp_path: Path, kind: str, data: st.DataObject, step: int) -> None:
    """Every value of every row, in order, whatever the size of a block; and from any row on."""
    write, names = WRITERS[kind]
    columns = data.draw(tables(names))
    rows = len(columns["n"])
    if kind in ("csv", "jsonl") and not rows:
        return
    path = write(columns, tmp_path)
    assert taken(path, names, step) == plain(columns)
    skip = data.draw(st.integers(0, rows))
    expected = {name: each[skip:] for name, each in plain(columns).items()}
    assert taken(path, names, step, skip) == expected


@pytest.mark.parametrize("form", ["dictionary", "view", "large", "fixed", "list view"])
def test_forms_of_arrow(tmp_path: Path, form: str) -> None:
    """Texts and lists are the same whatever form they have in the file."""
    words, pairs = ["a", "", "é", "a"], [[1, 2], [3, 4], [5, 6], [7, 8]]
    made = {
        "dictionary": lambda: (arrow.array(words).dictionary_encode(), arrow.array(pairs)),
        "view": lambda: (arrow.array(words, arrow.string_view()), arrow.array(pairs)),
        "large": lambda: (
            arrow.array(words, arrow.large_string()),
            arrow.array(pairs, arrow.large_list(arrow.int64())),
        ),
        "fixed": lambda: (arrow.array(words), arrow.array(pairs, arrow.list_(arrow.int64(), 2))),
        "list view": lambda: (arrow.array(words), arrow.array(pairs, arrow.list_view(arrow.int64()))),
    }[form]()
    table = arrow.table({"t": made[0], "p": made[1]})
    feather.write_feather(table, str(tmp_path / "x.arrow"), compression="uncompressed")
    assert taken(tmp_path / "x.arrow", ("t", "p"), 3) == {"t": words, "p": pairs}


def test_csv_of_texts_that_look_like_nothing(tmp_path: Path) -> None:
    """An empty text is a text."""
    (tmp_path / "x.csv").write_text('t,n\n"",1\nNA,2\n')
    assert taken(tmp_path / "x.csv", ("t", "n"), 1) == {"t": ["", "NA"], "n": [1, 2]}


def test_jsonl_of_plain_values(tmp_path: Path) -> None:
    """Lines that are no objects are one column; whole numbers among others are made others."""
    for lines, expected in (("1\n2.5\n", [1.0, 2.5]), ('"a"\n"2020-01-01"\n', ["a", "2020-01-01"])):
        (tmp_path / "x.jsonl").write_text(lines)
        source = open_rows(Wanted(places=(tmp_path / "x.jsonl",)))
        source.prepare(None)
        assert [plain(list(source.take(1).args[0]))[0] for _ in range(2)] == expected


def stored(path: Path, blocks: list[Block]) -> None:
    """Write these blocks, beginning anew from each state on the way."""
    with new_file(path) as file:
        sink = (
            sink_of(file, carries=True)
            if path.suffix in (".parquet", ".jsonl")
            else sink_of(file, carries=False)
        )
        sink.expect(None)
        for block in blocks:
            sink.store(block)
            state = json.loads(json.dumps(sink.state()))
            sink = sink_of(file, carries=False)
            sink.restore(state)
        if path.suffix in (".parquet", ".npz"):
            with new_file(path, made=True) as made:
                sink.finish(lambda: made).commit()
        else:
            sink.finish(lambda: file).commit()


def in_blocks(result: Callable[[int, int], Any], rows: int, step: int, gaps: frozenset[int]) -> list[Block]:
    """Blocks of at most `step` rows; those of `gaps` have failed."""
    blocks = []
    for start in range(0, max(rows, 1), step):
        stop = min(rows, start + step)
        pieces = [
            Piece(start=row - start, rows=1, result=result(row, row + 1))
            for row in range(start, stop)
            if row not in gaps
        ]
        whole_block = [Piece(start=0, rows=stop - start, result=result(start, stop))]
        failed = gaps & set(range(start, stop))
        blocks.append(Block(start=start, rows=stop - start, pieces=pieces if failed else whole_block))
    return blocks


@SOME
@given(columns=tables(), step=st.integers(1, 40), gaps=st.frozensets(st.integers(1, 30), max_size=5))
@pytest.mark.parametrize("kind", [".parquet", ".jsonl"])
def test_tables_come_out(
    tmp_path: Path, kind: str, columns: dict[str, list[Any]], step: int, gaps: frozenset[int]
) -> None:
    """As columns of lists or as rows of dictionaries; a row that failed has nothing."""
    rows = len(columns["n"])
    path = tmp_path / f"y{kind}"

    def part(start: int, stop: int) -> Any:
        return {name: each[start:stop] for name, each in columns.items()}

    def in_rows(start: int, stop: int) -> Any:
        return [{name: each[row] for name, each in columns.items()} for row in range(start, stop)]

    gaps = frozenset(gap for gap in gaps if gap < rows)
    for result in (part, in_rows) if rows else (part,):
        stored(path, in_blocks(result, rows, step, gaps))
        expected = [row if index not in gaps else None for index, row in enumerate(in_rows(0, rows))]
        if kind == ".jsonl":
            found = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
        else:
            nothing = dict.fromkeys(columns)
            found = parquet.read_table(path).to_pylist()
            expected = [nothing if row is None else row for row in expected]
        assert plain(found) == plain(expected)


@SOME
@given(
    shape=st.sampled_from([(), (3,), (2, 2), (0,)]),
    dtype=st.sampled_from(["f4", "i8", "bool", "c8", ">i2", "M8[s]"]),
    rows=st.sampled_from([1, 5, 23]),
    step=st.integers(1, 30),
    gaps=st.frozensets(st.integers(1, 22), max_size=4),
)
@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_arrays_come_out(
    tmp_path: Path, kind: str, shape: tuple[int, ...], dtype: str, rows: int, step: int, gaps: frozenset[int]
) -> None:
    """Of every type and shape of row; a row that failed is NaN, NaT, or zero."""
    array = (np.arange(rows * math.prod(shape)) % 2).reshape(rows, *shape).astype(dtype)
    gaps = frozenset(gap for gap in gaps if gap < rows)
    path = tmp_path / f"y{kind}"
    made = (
        (lambda a, b: array[a:b])
        if kind == ".npy"
        else (lambda a, b: {"a": array[a:b], "b": array[a:b, ...]})
    )
    stored(path, in_blocks(made, rows, step, gaps))
    found = np.load(path)
    read = found if kind == ".npy" else found["a"]
    expected = array.copy()
    for gap in gaps:
        expected[gap] = (
            np.nan if expected.dtype.kind in "fc" else np.array("NaT", dtype) if dtype[0] == "M" else 0
        )
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, expected)
    if kind == ".npz":
        found.close()


@SOME
@given(lines=st.lists(texts, min_size=1, max_size=30), step=st.integers(1, 40))
def test_texts_come_out(tmp_path: Path, lines: list[str], step: int) -> None:
    """A line each; a row that failed is an empty one."""
    path = tmp_path / "y.txt"
    stored(path, in_blocks(lambda a, b: lines[a:b], len(lines), step, frozenset({1})))
    expected = ["" if row == 1 else line for row, line in enumerate(lines)]
    assert path.read_text("utf-8").split("\n") == [*expected, ""]


def test_parquet_types_that_grow(tmp_path: Path) -> None:
    """Nothing, then whole numbers, then others: the column holds all of them."""
    parts: list[Any] = [[None, None], [1, 2], [0.5, None]]
    blocks = [
        Block(start=2 * index, rows=2, pieces=[Piece(start=0, rows=2, result={"a": part})])
        for index, part in enumerate(parts)
    ]
    stored(tmp_path / "y.parquet", blocks)
    assert parquet.read_table(tmp_path / "y.parquet").to_pydict() == {"a": [None, None, 1.0, 2.0, 0.5, None]}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("kind", [".parquet", ".jsonl", ".npz"])
def test_frames_come_out(tmp_path: Path, library: str, kind: str) -> None:
    """The index of a frame is not a column."""
    frames: Any = pytest.importorskip(library)
    make = frames.table if library == "pyarrow" else frames.DataFrame
    columns = {"a": [1, 2], "t": ["x", "é"]} if kind != ".npz" else {"a": [1, 2], "t": [0.5, 1.5]}
    path = tmp_path / f"y{kind}"
    stored(path, [Block(start=0, rows=2, pieces=[Piece(start=0, rows=2, result=make(columns))])])
    if kind == ".npz":
        with np.load(path) as found:
            assert {name: found[name].tolist() for name in found} == columns
    elif kind == ".parquet":
        assert parquet.read_table(path).to_pydict() == columns
    else:
        assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
            {"a": 1, "t": "x"},
            {"a": 2, "t": "é"},
        ]


def test_images(tmp_path: Path) -> None:
    """A folder of one size is an array, of several a list; the files can be kept."""
    image: Any = pytest.importorskip("PIL.Image", reason="needs Pillow (extra images)")
    for number in range(3):
        image.new("RGB", (4, 2), (number, 0, 0)).save(tmp_path / f"{number}.png")
    source = open_rows(Wanted(places=(tmp_path,), keep=("file",)))
    first, rest = source.take(2), source.take(9)
    assert first.args[0].shape == (2, 2, 4, 3) and rest.args[0][:, 0, 0, 0].tolist() == [2]
    assert rest.carried["file"] == [str(tmp_path / "2.png")]
    image.new("L", (5, 5)).save(tmp_path / "3.jpg")
    pattern = open_rows(Wanted(places=(tmp_path / "*g",)))
    (found,) = pattern.take(9).args
    assert [each.shape for each in found] == [(2, 4, 3)] * 3 + [(5, 5, 3)]
