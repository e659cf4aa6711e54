"""What goes in as a table, a labelled array or a sparse matrix comes out as the plain call would have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch

COUNTS = st.sampled_from([0, 1, 2, 3, 11, 12, 13, 40])
"""Rows: none, one, fewer than parts, as many as are tried, and more."""


PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3}


def in_parts(function: Callable[[Any], Any], x: Any, parts: int = 3) -> Any:
    """The result of as many parts as can be filled; the step must have been cut where there are two rows."""
    with microbatch.wrap(function, policy="fixed", num_ubatches=parts) as wrapped:
        result = wrapped(x)
    report = wrapped.last_report
    assert report is not None
    assert len(report.sizes) == max(1, min(parts, report.num_tokens))
    return result


def numbers(draw: Any, rows: int) -> np.ndarray[Any, Any]:
    """Numbers, some of them missing."""
    found = draw(st.lists(st.sampled_from([0.0, -1.5, 2.25, np.nan, np.inf]), min_size=rows, max_size=rows))
    return np.asarray(found, np.float64)


def texts(draw: Any, rows: int) -> list[str | None]:
    """Texts, some of them missing."""
    return draw(st.lists(st.sampled_from(["", "a", "ä", "long text", None]), min_size=rows, max_size=rows))


def pandas_index(draw: Any, rows: int) -> Any:
    """Numbers from 0, labels that occur twice, dates in steps, or two levels."""
    pandas = pytest.importorskip("pandas")
    labels = [place % 3 for place in range(rows)]
    return draw(
        st.sampled_from(
            [
                pandas.RangeIndex(rows),
                pandas.RangeIndex(7, 7 + 2 * rows, 2, name="step"),
                pandas.Index(labels, name="twice"),
                pandas.Index([f"r{label}" for label in labels]),
                pandas.date_range("2026-11-27", periods=rows, freq="D", name="day"),
                pandas.MultiIndex.from_arrays([labels, list(range(rows))], names=["a", None]),
            ]
        )
    )


def pandas_frame(draw: Any) -> Any:
    """A frame of mixed types."""
    pandas = pytest.importorskip("pandas")
    rows = draw(COUNTS)
    frame = pandas.DataFrame(
        {
            "x": numbers(draw, rows),
            "text": pandas.Series(texts(draw, rows), dtype=object),
            "kind": pandas.Categorical(["u", "v", "u", "w"] * 10, categories=["w", "v", "u"])[:rows],
            "whole": pandas.array([1, None, 3, 4] * 10, dtype="Int64")[:rows],
            "flag": np.arange(rows) % 2 == 0,
            3: pandas.date_range("2026-01-01", periods=rows, tz="UTC"),
        }
    )
    frame.index = pandas_index(draw, rows)
    return frame


@given(st.data())
def test_a_frame_of_pandas(data: st.DataObject) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas_frame(data.draw)
    function = lambda rows: rows.assign(twice=rows["x"] * 2)
    pandas.testing.assert_frame_equal(in_parts(function, frame), function(frame), check_freq=True)


@given(st.data())
def test_names_of_columns_that_occur_twice(data: st.DataObject) -> None:
    pandas = pytest.importorskip("pandas")
    rows = data.draw(COUNTS)
    frame = pandas.DataFrame(np.arange(2.0 * rows).reshape(rows, 2), columns=["a", "a"])
    pandas.testing.assert_frame_equal(in_parts(lambda rows: rows * 2, frame), frame * 2)


@given(st.data())
def test_a_series_of_pandas(data: st.DataObject) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas_frame(data.draw)
    series = frame[data.draw(st.sampled_from(list(frame.columns)))]
    if data.draw(st.booleans()):
        series = series.rename(None)
    result = in_parts(lambda rows: rows, series)
    pandas.testing.assert_series_equal(result, series, check_freq=True)


@given(st.data())
def test_an_index_of_pandas(data: st.DataObject) -> None:
    pandas = pytest.importorskip("pandas")
    index = pandas_index(data.draw, data.draw(COUNTS))
    pandas.testing.assert_index_equal(in_parts(lambda rows: rows, index), index, exact="equiv")


@given(st.data())
def test_a_column_without_index(data: st.DataObject) -> None:
    pandas = pytest.importorskip("pandas")
    column = pandas_frame(data.draw)[data.draw(st.sampled_from(["kind", "whole"]))].array
    result = in_parts(lambda rows: rows, column)
    assert type(result) is type(column)
    pandas.testing.assert_extension_array_equal(result, column)


@pytest.mark.parametrize("rows", [1, 2, 12, 13, 40])
def test_a_new_frame_is_numbered_throughout(rows: int) -> None:
    """Each part numbers its rows from 0, the plain call numbers all of them."""
    pandas = pytest.importorskip("pandas")
    x = np.arange(2.0 * rows).reshape(rows, 2)
    pandas.testing.assert_frame_equal(in_parts(lambda x: pandas.DataFrame(x), x), pandas.DataFrame(x))


def test_an_index_of_places_is_not_cut() -> None:
    """A part would say the places of its rows in it: the function runs whole."""
    pandas = pytest.importorskip("pandas")
    function = lambda x: pandas.Series(x, index=[f"row {place}" for place in range(len(x))])
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(microbatch.errors.UnprovenError):
        wrapped(np.arange(30.0))


def test_categories_of_a_part_are_not_those_of_all() -> None:
    pandas = pytest.importorskip("pandas")
    function = lambda x: pandas.Series(x).astype("category")
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(microbatch.errors.UnprovenError):
        wrapped(np.arange(30.0) % 17)


@given(st.data())
def test_a_frame_of_polars(data: st.DataObject) -> None:
    polars = pytest.importorskip("polars")
    rows = data.draw(COUNTS)
    frame = polars.DataFrame(
        {
            "x": numbers(data.draw, rows),
            "text": texts(data.draw, rows),
            "list": [[place] for place in range(rows)],
        },
        schema={"x": polars.Float64, "text": polars.String, "list": polars.List(polars.Int64)},
    )
    function = lambda rows: rows.with_columns(twice=polars.col("x") * 2)
    result = in_parts(function, frame)
    assert result.schema == function(frame).schema
    assert result.equals(function(frame), null_equal=True)


@given(st.data())
def test_a_series_of_polars(data: st.DataObject) -> None:
    polars = pytest.importorskip("polars")
    series = polars.Series("name", texts(data.draw, data.draw(COUNTS)), dtype=polars.String)
    result = in_parts(lambda rows: rows, series)
    assert result.name == "name"
    assert result.equals(series, null_equal=True, check_dtypes=True)


@given(st.data(), st.sampled_from(["Table", "RecordBatch", "ChunkedArray", "Array"]))
def test_arrow(data: st.DataObject, kind: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    rows = data.draw(COUNTS)
    schema = arrow.schema([("x", arrow.float64()), ("text", arrow.string())], metadata={"made": "here"})
    table = arrow.table([numbers(data.draw, rows), texts(data.draw, rows)], schema=schema)
    x = {
        "Table": table,
        "RecordBatch": arrow.RecordBatch.from_arrays(
            [c.combine_chunks() for c in table.columns], schema=schema
        ),
        "ChunkedArray": table["text"],
        "Array": table["text"].combine_chunks(),
    }[kind]
    result = in_parts(lambda rows: rows, x)
    assert type(result) is type(x)
    assert str(result.to_pylist()) == str(x.to_pylist())  # NaN does not equal itself, its text does
    if kind in ("Table", "RecordBatch"):
        assert result.schema.equals(schema, check_metadata=True)


@settings(max_examples=10)
@given(st.data(), st.booleans())
def test_xarray(data: st.DataObject, dataset: bool) -> None:
    xarray = pytest.importorskip("xarray")
    rows = data.draw(COUNTS)
    x = xarray.DataArray(
        np.stack([numbers(data.draw, rows)] * 2, axis=1),
        dims=("place", "band"),
        coords={
            "place": np.arange(rows)[::-1] // 2,
            "band": ["red", "green"],
            "name": ("place", np.array([f"p{place}" for place in range(rows)], dtype=object)),
            "year": 2026,
        },
        name="seen",
        attrs={"unit": "m"},
    )
    if dataset:
        x = x.to_dataset().assign(other=("place", np.arange(rows)), whole=("band", [1, 2]))
    with xarray.set_options(keep_attrs=True):
        function = lambda rows: rows * 2
        if not dataset:
            xarray.testing.assert_identical(in_parts(function, x), function(x))
    xarray.testing.assert_identical(in_parts(lambda rows: rows, x), x)


@given(st.data(), st.sampled_from(["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]), st.booleans())
def test_sparse_rows(data: st.DataObject, form: str, matrix: bool) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rows = data.draw(COUNTS.filter(bool))  # scipy makes no empty matrix of some of them
    dense = np.stack([np.nan_to_num(numbers(data.draw, rows), posinf=3.0), np.arange(rows) % 3], axis=1)
    x = (sparse.coo_matrix if matrix else sparse.coo_array)(dense.astype(np.float32)).asformat(form)
    function = lambda rows: (rows * 2).asformat(form)
    result, plain = in_parts(function, x), function(x)
    assert (type(result), result.format, result.dtype) == (type(plain), plain.format, plain.dtype)
    np.testing.assert_array_equal(result.toarray(), plain.toarray())


@given(st.data())
def test_masked_arrays_keep_what_stands_for_missing(data: st.DataObject) -> None:
    values = numbers(data.draw, data.draw(COUNTS))
    x = np.ma.MaskedArray(values, mask=np.isnan(values), fill_value=-7.0)
    result = in_parts(lambda rows: rows * 2, x)
    plain = x * 2
    assert type(result) is type(plain)
    assert result.fill_value == plain.fill_value
    np.testing.assert_array_equal(np.ma.getmaskarray(result), np.ma.getmaskarray(plain))
    np.testing.assert_array_equal(result.filled(), plain.filled())


@given(st.data(), st.sampled_from(["U", "S", "T"]))
def test_arrays_of_texts(data: st.DataObject, kind: str) -> None:
    """Of a fixed width, the width of the widest; of StringDType."""
    rows = data.draw(COUNTS)
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows))
    dtype = np.dtypes.StringDType() if kind == "T" else kind
    function = lambda x: np.array(["a" * length for length in x.tolist()], dtype=dtype)
    x = np.asarray(lengths, np.int64)
    result, plain = in_parts(function, x), function(x)
    assert result.dtype == plain.dtype
    np.testing.assert_array_equal(result, plain)


@given(st.data(), st.sampled_from([list, tuple]))
def test_lists_of_texts_bytes_numbers_and_nothing(data: st.DataObject, kind: type) -> None:
    rows = data.draw(COUNTS)
    entry = st.one_of(st.text(max_size=3), st.binary(max_size=3), st.integers(), st.none(), st.booleans())
    x = kind(data.draw(st.lists(entry, min_size=rows, max_size=rows)))
    with microbatch.wrap(lambda rows: kind([(row, 1) for row in rows]), **PARTS) as wrapped:
        assert wrapped(x) == kind([(row, 1) for row in x])


def test_lists_of_images() -> None:
    """Of one size and of many, as arrays and as images."""
    images = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(0)
    one = [draw.integers(0, 255, (8, 9, 3), dtype=np.uint8) for _ in range(20)]
    many = [draw.integers(0, 255, (8 + place, 9, 3), dtype=np.uint8) for place in range(20)]
    for x in (one, many, tuple(many), one[:4]):
        np.testing.assert_array_equal(
            in_parts(lambda rows: np.array([row.mean() for row in rows]), x), [row.mean() for row in x]
        )
    turned = in_parts(lambda rows: [row.rotate(90) for row in rows], [images.fromarray(row) for row in many])
    assert [image.tobytes() for image in turned] == [
        images.fromarray(row).rotate(90).tobytes() for row in many
    ]


def test_a_function_may_not_write_into_its_table() -> None:
    """The caller's table is as before, and a function that writes into it is not cut."""
    pandas = pytest.importorskip("pandas")

    def function(rows: Any) -> Any:
        rows["y"] = rows["x"] * 2
        return rows["y"]

    frame = pandas.DataFrame({"x": np.arange(30.0)})
    with (
        microbatch.wrap(function, **PARTS) as wrapped,
        pytest.raises(microbatch.errors.UnprovenError, match="a list or a table|SettingWithCopy"),
    ):
        wrapped(frame)


def test_a_plan_without_rows_is_refused_at_any_size() -> None:
    """The sentence names the argument, what it is, and what to do."""
    polars = pytest.importorskip("polars")
    for rows in (1, 2, 1000):
        with (
            microbatch.wrap(lambda frame: frame) as wrapped,
            pytest.raises(
                microbatch.errors.LayoutError,
                match=r"frame cannot be cut by rows: a LazyFrame .* \.collect\(\)",
            ),
        ):
            wrapped(polars.LazyFrame({"x": np.arange(rows)}))


def test_a_table_beside_arrays_and_a_table_that_goes_whole() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.arange(30.0)}, index=np.arange(30) // 2)
    table = pandas.DataFrame({"w": [1.0, 2.0, 3.0]})
    function = lambda rows, factor, table: rows["x"].to_numpy() * factor + table["w"].sum()
    with microbatch.wrap(function, **PARTS) as wrapped:
        factor = np.linspace(0, 1, 30)
        np.testing.assert_array_equal(wrapped(frame, factor, table), function(frame, factor, table))
    assert wrapped.last_report is not None and wrapped.last_report.sizes == (10, 10, 10)


def test_nothing_is_imported_that_the_user_has_not(subprocess_modules: Callable[[str], set[str]]) -> None:
    """Neither wrapping nor cutting plain arrays loads any of these libraries."""
    code = "import microbatch, numpy as np; microbatch.wrap(lambda x: x * 2, num_ubatches=2)(np.ones(30))"
    heavy = {"pandas", "polars", "pyarrow", "xarray", "scipy", "torch", "transformers", "attrs", "narwhals"}
    assert not heavy & subprocess_modules(code)


def test_memory_that_runs_out_in_a_table() -> None:
    """A part of a table that did not fit is cut further, and joined again."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.arange(40.0)}, index=np.arange(40) % 7)

    def function(rows: Any) -> Any:
        if len(rows) > 9:
            raise MemoryError("too many rows")
        return rows * 2

    with microbatch.wrap(function) as wrapped:
        pandas.testing.assert_frame_equal(wrapped(frame), frame * 2)
    assert wrapped.last_report is not None and wrapped.last_report.oom_sizes


def test_the_callers_table_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it put back, as if a call had changed it: dates with a zone are other objects each time."""
    pandas = pytest.importorskip("pandas")
    dates = pandas.Series(pandas.date_range("2026-01-01", periods=40, tz="UTC"))
    monkeypatch.setattr(pandas.Series, "__setitem__", lambda *given: pytest.fail("it was written"))
    pandas.testing.assert_series_equal(in_parts(lambda rows: rows, dates), dates)
