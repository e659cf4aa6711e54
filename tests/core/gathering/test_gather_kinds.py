"""What the rows are besides numbers survives: dtype, shape, class, structure; and is never mixed."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optree
import pytest

import microbatch
from microbatch.binding.rules import Layout, replicate
from microbatch.cutting.cut import cut
from microbatch.errors import OutputMismatchError
from microbatch.gathering.gather import Gather, Outputs
from tests.support.binding import bind

Run = Callable[..., Any]
Pair = namedtuple("Pair", "first second")
X = np.arange(8.0).reshape(4, 2)


def refused(run_cut: Run, first: Any, second: Any, **options: Any) -> str:
    waiting = iter([first, second])
    with pytest.raises(OutputMismatchError) as caught:
        run_cut(lambda part: next(waiting), X, splitter="even", num_ubatches=2, **options)
    return str(caught.value)


@pytest.mark.case(72)
@pytest.mark.parametrize("pair", [("i8", "f2"), ("f4", "f8"), ("?", "i1"), ("M8[s]", "M8[ms]"), ("U1", "S1")])
@pytest.mark.parametrize("turned", [False, True])
def test_two_dtypes_are_an_error_in_either_order(run_cut: Run, pair: tuple[str, str], turned: bool) -> None:
    first, second = (np.ones((2, 2)).astype(dtype) for dtype in (pair[::-1] if turned else pair))
    text = refused(run_cut, first, second)
    assert str(first.dtype) in text
    assert str(second.dtype) in text


@pytest.mark.parametrize("kind", ["U", "S"])
@pytest.mark.parametrize("turned", [False, True])
def test_texts_of_two_widths_are_as_wide_as_the_widest(run_cut: Run, kind: str, turned: bool) -> None:
    """Texts are as wide as the longest of their part, and those of the plain call as the longest of all."""
    parts = [np.array(["a", "b"], f"{kind}1"), np.array(["ccc", "d"], f"{kind}3")][:: -1 if turned else 1]
    waiting = iter(parts)
    result = run_cut(lambda part: next(waiting), X, splitter="even", num_ubatches=2)
    assert result.dtype == np.dtype(f"{kind}3")
    np.testing.assert_array_equal(result, np.concatenate(parts))


@pytest.mark.case(73)
@pytest.mark.parametrize("turned", [False, True])
def test_an_empty_vector_beside_a_matrix(run_cut: Run, turned: bool) -> None:
    """torch.cat joins (0,) and (2, 3) without a word."""
    parts = [np.zeros((0,)), np.zeros((2, 3))]
    assert "0 rows" in refused(run_cut, *(reversed(parts) if turned else parts))


@pytest.mark.case(74)
@pytest.mark.parametrize("dtype", ["f2", "i4", "?", "U3", "O"])
@pytest.mark.parametrize("tail", [(), (3,), (0,), (2, 0, 5)])
def test_nothing_keeps_its_dtype_and_shape(run_cut: Run, dtype: str, tail: tuple[int, ...]) -> None:
    empty = np.empty((0, *tail), dtype)
    with microbatch.wrap(np.copy, num_ubatches=3) as wrapped:
        result = wrapped(empty)
    assert (result.dtype, result.shape) == (empty.dtype, empty.shape)
    rows = np.zeros((4, *tail), dtype)
    result = run_cut(np.copy, rows, splitter="even", num_ubatches=3)
    assert (result.dtype, result.shape) == (rows.dtype, rows.shape)


@pytest.mark.case(75)
@pytest.mark.parametrize("other", [np.array(2.0), np.array(1), np.array(1, "f4"), 1.0, None, np.ones((1,))])
def test_a_0_dimensional_output_that_differs(run_cut: Run, other: Any) -> None:
    text = refused(run_cut, {"x": X[:2], "loss": np.array(1.0)}, {"x": X[:2], "loss": other})
    assert "output['loss']" in text


@pytest.mark.case(76)
@pytest.mark.parametrize(
    ("first", "second"), [(True, 1), (1, 1.0), ("a", "b"), (None, False), (b"a", "a"), (0, False)]
)
def test_constants_of_another_type_or_value(run_cut: Run, first: Any, second: Any) -> None:
    assert "output['n']" in refused(run_cut, {"x": X[:2], "n": first}, {"x": X[:2], "n": second})


@dataclasses.dataclass
class Output:
    """A container of the function's own."""

    hidden: Any
    name: str


@pytest.fixture
def registered() -> Iterator[None]:
    optree.register_pytree_node(
        Output, lambda output: ((output.hidden,), output.name, ("hidden",)),
        lambda name, children: Output(children[0], name), namespace="microbatch",
    )  # fmt: skip
    yield
    optree.unregister_pytree_node(Output, namespace="microbatch")


@pytest.mark.case(77)
def test_a_registered_container_is_made_again(run_cut: Run, registered: None) -> None:
    result = run_cut(lambda part: Output(part + 1, "model"), X, splitter="even", num_ubatches=3)
    assert type(result) is Output
    assert result.name == "model"
    np.testing.assert_array_equal(result.hidden, X + 1)
    assert "structure" in refused(run_cut, Output(X[:2], "one"), Output(X[:2], "other"))


@pytest.mark.case(77)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": X[:2], "b": X[:2]}, {"a": X[:2]}),
        ({"a": X[:2]}, OrderedDict(a=X[:2])),
        (Pair(X[:2], X[:2]), (X[:2], X[:2])),
        ([X[:2]], (X[:2],)),
    ],
    ids=["key missing", "kind of dict", "named tuple", "list and tuple"],
)
def test_structures_that_differ(run_cut: Run, first: Any, second: Any) -> None:
    assert "return one structure" in refused(run_cut, first, second)


@pytest.mark.case(77)
def test_order_of_keys_is_that_of_the_first_and_may_differ(run_cut: Run) -> None:
    waiting = iter([{"z": X[:2], "a": X[:2] + 1}, {"a": X[2:] + 1, "z": X[2:]}])
    result = run_cut(lambda part: next(waiting), X, splitter="even", num_ubatches=2)
    np.testing.assert_array_equal(result["z"], X)
    np.testing.assert_array_equal(result["a"], X + 1)


STRUCTURES: dict[str, Callable[[Any], Any]] = {
    "array": lambda x: x,
    "nested": lambda x: {"z": [x, (x, None)], "a": Pair(x, "text"), "n": 3},
    "ordered": lambda x: OrderedDict(z=x, a=x),
    "default": lambda x: defaultdict(list, rows=x),
    "scalar": lambda x: (x, np.float32(2), np.array(3)),
    "nothing": lambda x: None,
    "empty": lambda x: (x, (), {}, []),
}


def shape_of(tree: Any) -> Any:
    """Types and keys in order, arrays as dtype and shape."""
    if isinstance(tree, dict):
        return type(tree), [(key, shape_of(value)) for key, value in tree.items()]
    if isinstance(tree, (list, tuple)):
        return type(tree), [shape_of(value) for value in tree]
    if isinstance(tree, np.ndarray):
        return type(tree), tree.dtype, tree.shape
    return type(tree), tree


@pytest.mark.case(83)
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("schedule", ["sequential", "pingpong", "streamed"])
def test_one_ubatch_gives_what_the_plain_call_gives(name: str, schedule: str) -> None:
    function = STRUCTURES[name]
    whole = [microbatch.UBatchSlice.from_range(0, 4, 0, 4)]
    with microbatch.wrap(function, num_ubatches=1, policy="fixed", schedule=schedule) as wrapped:
        assert shape_of(wrapped(X)) == shape_of(function(X))
        assert shape_of(wrapped(X, ubatch_slices=whole)) == shape_of(function(X))
        assert shape_of(wrapped(X[:1])) == shape_of(function(X[:1]))


class Metres(np.ndarray):
    """An array with a unit."""


class Text(np.ndarray):
    """An array that refuses to hold anything but text, as NumPy's `chararray`, which NumPy 2.5 deprecates."""

    def __array_finalize__(self, source: Any) -> None:
        if self.dtype.kind != "U":
            raise ValueError("this holds text only")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array.view(Text) if array.dtype.kind == "U" else array


def masked(values: Any) -> Any:
    return np.ma.masked_array(values, mask=values % 3 == 0)


KINDS: dict[str, Callable[[Any], Any]] = {
    "masked": masked,
    "unit": lambda x: x.view(Metres),
    "records": lambda x: np.rec.fromarrays([x[:, 0], x[:, 1]], names="a,b"),
    "text": lambda x: x.astype("U3").view(Text),
}


@pytest.mark.case(84)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("splitter", ["even", "packed"])
def test_subclasses_survive(run_cut: Run, kind: str, splitter: str) -> None:
    lengths = Layout(lengths=lambda args, kwargs: [3, 1, 4, 2])
    expected = KINDS[kind](X)
    result = run_cut(KINDS[kind], X, layout=lengths, splitter=splitter, num_ubatches=3)
    assert (type(result), result.dtype) == (type(expected), expected.dtype)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.ma.getmaskarray(result), np.ma.getmaskarray(expected))


@pytest.mark.case(84)
def test_masked_inputs_are_cut_with_their_mask(run_cut: Run) -> None:
    result = run_cut(lambda x: x * 2, masked(X), splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(result.mask, masked(X).mask)
    np.testing.assert_array_equal(result.filled(-1), (masked(X) * 2).filled(-1))


@pytest.mark.case(84)
@pytest.mark.parametrize("kind", ["masked", "unit"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_subclass_beside_a_plain_array_is_an_error(run_cut: Run, kind: str, turned: bool) -> None:
    """Written into a plain array, a mask would be lost: what was masked would come back as numbers."""
    parts = [X[:2], KINDS[kind](X[2:])]
    text = refused(run_cut, *(reversed(parts) if turned else parts))
    assert type(parts[1]).__name__ in text
    assert "ndarray" in text


@pytest.mark.case(84)
def test_a_mapped_file_beside_an_array_is_fine(run_cut: Run, tmp_path: Any) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f8", (2, 2))
    mapped[:] = X[2:]
    waiting = iter([X[:2], mapped])
    np.testing.assert_array_equal(run_cut(lambda part: next(waiting), X, splitter="even", num_ubatches=2), X)


@pytest.mark.case(71)
def test_rows_are_in_order_whichever_is_stored_first(backend: Any) -> None:
    batch = bind(None, (X,), {}, backend=backend)
    made = cut(batch.shape, splitter="even", num_ubatches=4)
    for order in ([3, 1, 0, 2], [0, 1, 2, 3], [2, 3, 1, 0]):
        gather = Gather(batch, made, backend, Outputs(layout=Layout(outputs={"c": replicate()})))
        for index in order:
            gather.store(index, {"rows": X[index : index + 1], "c": 1})
        np.testing.assert_array_equal(gather.result()["rows"], X)  # type: ignore[index]
