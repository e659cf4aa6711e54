"""Input files: what is in them arrives, and what cannot be read is refused before any work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from microbatch.errors import ArgumentValueError, InputFileError, MicrobatchError, UnknownNameError
from microbatch.files.sources import read_inputs

arrays = npst.arrays(
    st.sampled_from(["f4", "f8", "i2", "u1", "bool", "complex64", ">f4"]),
    npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays, fortran=st.booleans())
def test_npy_comes_back(tmp_path: Path, array: np.ndarray[Any, Any], fortran: bool) -> None:
    """Any array, of either memory order, empty ones too."""
    np.save(tmp_path / "x.npy", np.asfortranarray(array) if fortran else array)
    inputs = read_inputs(tmp_path / "x.npy")
    (read,) = inputs.args
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert inputs.rows == len(array)


def test_npy_is_mapped_and_read_only(tmp_path: Path) -> None:
    """Rows stay on disk until a part needs them, and the function cannot change the file."""
    np.save(tmp_path / "x.npy", np.arange(6.0))
    (read,) = read_inputs(tmp_path / "x.npy").args
    base = read
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not read.flags.writeable


@given(cut=st.integers(1, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_npy_cut_short_anywhere(tmp_path: Path, cut: int) -> None:
    """Never read, wherever the file ends; past the header the text has both sizes."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((10, 4)))
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputFileError) as caught:
        read_inputs(path)
    if cut <= 320:
        assert f"cut short: {whole - cut} of {whole} bytes" in str(caught.value)


def test_npz_by_name_or_position(tmp_path: Path) -> None:
    """Names that are parameters go there; where none is, the order of the file counts."""
    path = tmp_path / "x.npz"
    np.savez(path, b=np.ones((3, 2)), a=np.zeros(3))
    named = read_inputs(path).bound(("a", "b"))
    assert named.args == ()
    assert set(named.kwargs) == {"a", "b"}
    placed = read_inputs(path).bound(("x", "y"))
    assert [array.shape for array in placed.args] == [(3, 2), (3,)]
    with pytest.raises(InputFileError, match="holds 'b', which is no parameter"):
        read_inputs(path).bound(("a", "c"))


@pytest.mark.parametrize("rows", [2, 5, 64])
def test_sample_is_spread_over_the_file(tmp_path: Path, rows: int) -> None:
    """First and last row are in it, order is kept, and what is not per row stays whole."""
    np.savez(tmp_path / "x.npz", x=np.arange(20), scale=np.ones(7))
    sample = read_inputs(tmp_path / "x.npz").bound(("x", "scale")).sample(rows)
    x = sample.kwargs["x"]
    assert sample.rows == len(x) == min(rows, 20)
    assert x[0] == 0
    assert x[-1] == 19
    assert (np.diff(x) > 0).all()
    assert len(sample.kwargs["scale"]) == 7


def test_sample_of_texts(tmp_path: Path) -> None:
    """A list of texts is sampled alike, and keeps its layout."""
    (tmp_path / "x.txt").write_text("".join(f"row {index}\n" for index in range(10)))
    sample = read_inputs(tmp_path / "x.txt").sample(2)
    assert sample.args == (["row 0", "row 9"],)
    assert sample.layout is not None


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "no.npy", "no.npy does not exist"),
    "folder": (lambda folder: (folder / "d.npy").mkdir() or folder / "d.npy", "d.npy is a folder"),
    "kind": (lambda folder: write(folder / "x.nyp", b""), r"one of .npy, .npz, .parquet, .txt"),
    "no kind": (lambda folder: write(folder / "x", b""), r"one of .npy"),
    "no npy": (lambda folder: write(folder / "x.npy", b"hello, world"), "is not a .npy file"),
    "pickle": (lambda folder: write(folder / "x.npz", b"\x80\x04N."), "cannot be read"),
    "no zip": (lambda folder: write(folder / "x.npz", b"PK\x03\x04 nothing"), "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path: Path, name: str) -> None:
    """Each is refused, with the file and what to do."""
    make, text = BAD[name]
    with pytest.raises(InputFileError, match=text):
        read_inputs(make(tmp_path))


@pytest.mark.parametrize(
    ("array", "text"), [(np.array(3.0), "has no rows"), (np.array(["a", None], object), "never unpickled")]
)
def test_npy_without_rows_or_numbers(tmp_path: Path, array: Any, text: str) -> None:
    """A single value has nothing to cut; objects would have to be unpickled."""
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(InputFileError, match=text):
        read_inputs(tmp_path / "x.npy")


def test_column_is_for_parquet(tmp_path: Path) -> None:
    """An option that would do nothing is an error."""
    with pytest.raises(ArgumentValueError, match="has no columns to name; leave --column out"):
        read_inputs(write(tmp_path / "x.txt", b"a"), column="text")


class TestParquet:
    """Columns, where pyarrow is installed."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file with a column of each kind."""
        arrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow (extra data)")
        parquet = pytest.importorskip("pyarrow.parquet")
        pairs = arrow.array([[1.0, 2.0], [3.0, 4.0]], arrow.list_(arrow.float32(), 2))
        holes = arrow.array([[1, 2], [3, None]], arrow.list_(arrow.int32(), 2))
        words = arrow.array([["a", "b"], ["c", "d"]], arrow.list_(arrow.string(), 2))
        columns = {"text": ["a", ""], "n": [1, 2], "pair": pairs, "gap": ["a", None], "ragged": [[1], [2, 3]]}
        columns |= {"holes": holes, "words": words}
        parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
        return tmp_path / "x.parquet"

    def test_columns(self, path: Path) -> None:
        """Text is a list; numbers and fixed lists are arrays."""
        assert read_inputs(path, column="text").args == (["a", ""],)
        assert read_inputs(path, column="n").args[0].tolist() == [1, 2]
        assert read_inputs(path, column="pair").args[0].tolist() == [[1.0, 2.0], [3.0, 4.0]]

    @pytest.mark.parametrize(
        ("column", "kind", "text"),
        [
            (None, ArgumentValueError, "choose one with --column"),
            ("txet", UnknownNameError, "did you mean 'text'"),
            ("gap", InputFileError, "no value in row 1"),
            ("ragged", InputFileError, "which is no array"),
            ("holes", InputFileError, "no value in row 1"),
            ("words", InputFileError, "which is no array"),
        ],
    )
    def test_refused(self, path: Path, column: str | None, kind: type[MicrobatchError], text: str) -> None:
        """Which column, which row, and what to do."""
        with pytest.raises(kind, match=text):
            read_inputs(path, column=column)

    def test_cut_short(self, path: Path) -> None:
        """The end of the file holds its directory."""
        with pytest.raises(InputFileError, match=r"x.parquet cannot be read \(.*\); write the file again"):
            read_inputs(write(path, path.read_bytes()[:-9]), column="n")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputFileError, match=r"pip install microbatch\[data\]"):
        read_inputs(write(tmp_path / "x.parquet", b"PAR1"))
