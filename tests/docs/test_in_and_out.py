"""The table of `docs/data.md` of what may go in and out: each row is run in parts and compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.arrays.comparing import equal_values

PAGE = Path(__file__).parents[2] / "docs/data.md"
ROWS = 20
X = np.arange(60.0).reshape(ROWS, 3)
TEXTS = [f"text {number}" for number in range(ROWS)]

Made = tuple[Callable[[Any], Any], Callable[[], Any]]
"""A function, and what makes its batch."""


def _of(module: str) -> Any:
    return import_module(module)


CASES: dict[str, Made] = {
    "array of NumPy": (lambda x: x * 2, lambda: X),
    "masked array": (lambda x: x * 2, lambda: np.ma.masked_greater(X, 30)),
    "tensor": (lambda x: x * 2, lambda: _of("torch").from_numpy(X)),
    "array of JAX": (lambda x: x * 2, lambda: _of("jax.numpy").asarray(X)),
    "NumPy to torch": (lambda x: _of("torch").from_numpy(x * 2), lambda: X),
    "NumPy to JAX": (lambda x: _of("jax.numpy").asarray(x) * 2, lambda: X),
    "texts": (lambda texts: [text.upper() for text in texts], lambda: TEXTS),
    "texts to array": (lambda texts: np.array([*map(len, texts)]), lambda: TEXTS),
    "frame of pandas": (
        lambda frame: frame * 2,
        lambda: _of("pandas").DataFrame(X, index=TEXTS, columns=["a", "b", "c"]),
    ),
    "column of pandas": (
        lambda column: column * 2,
        lambda: _of("pandas").Series(X[:, 0], index=TEXTS, name="a"),
    ),
    "frame of polars": (
        lambda frame: frame.with_columns(frame["a"] * 2),
        lambda: _of("polars").DataFrame({"a": X[:, 0], "text": TEXTS}),
    ),
    "table of Arrow": (
        lambda table: table.append_column("b", table["a"]),
        lambda: _of("pyarrow").table({"a": X[:, 0], "text": TEXTS}),
    ),
    "labelled array": (
        lambda labelled: labelled * 2,
        lambda: _of("xarray").DataArray(X, dims=("row", "column"), coords={"row": TEXTS}),
    ),
    "sparse rows": (lambda rows: rows * 2, lambda: _of("scipy.sparse").csr_array(X)),
    "dictionary": (lambda given: {"x": given["x"] * 2, "inner": [given["x"]]}, lambda: {"x": X}),
}
"""By the first column of the table."""


def table() -> list[tuple[str, str, str]]:
    """Kind, type in and type out of each row."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^\| ([\w ]+) \| `([\w.]+)` \| `([\w.]+)` \| [^|]*\|$", text, re.MULTILINE)


def test_the_table_has_each_case_once() -> None:
    assert [kind for kind, _, _ in table()] == list(CASES)


def named(name: str) -> Any:
    """The class of that name; skips the test where its library is not installed."""
    module, _, kind = name.rpartition(".")
    if not module:
        return {"dict": dict, "list": list}[kind]
    library = module.partition(".")[0]
    pytest.importorskip(library, reason=f"{library} is not installed")
    return getattr(import_module(module), kind)


@pytest.mark.parametrize(("kind", "given", "answered"), table(), ids=[kind for kind, _, _ in table()])
def test_a_row_of_the_table_is_what_happens(kind: str, given: str, answered: str) -> None:
    """Three parts give what the plain call gives, of the types that the row names."""
    type_in, type_out = named(given), named(answered)
    function, make = CASES[kind]
    batch = make()
    expected = function(batch)
    assert isinstance(batch, type_in)
    assert isinstance(expected, type_out)
    with microbatch.wrap(function, policy="fixed", num_ubatches=3) as wrapped:
        result = wrapped(batch)
        assert len(wrapped.last_report.sizes) == 3
    assert type(result) is type(expected)
    if kind == "dictionary":
        assert result.keys() == expected.keys()
        np.testing.assert_array_equal(result["inner"][0], expected["inner"][0])
    elif kind == "sparse rows":
        assert result.format == expected.format
        assert not (result != expected).nnz
    else:
        assert equal_values(result, expected) or np.array_equal(result, expected)
