"""Functions of tensors: by rows, mixing rows, writing, drawing, recording gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from tests.core.proof.holders import Plain
from tests.core.proof.pair import FEWER, SQUARE, Pair, Sizes, mixing, row_wise, wrapped_in
from tests.core.proof.pairs_hidden import closing
from tests.core.proof.pairs_torch_modules import MODULES
from tests.core.proof.torch_pair import bias, column, drawn, floats, ids, matrix


def slope(a: Any) -> Any:
    """The gradient of each row."""
    leaf = a.detach().clone().requires_grad_()
    (leaf**3).sum().backward()
    return leaf.grad


def slope_of_mean(a: Any) -> Any:
    """The gradient of a mean over rows."""
    leaf = a.detach().clone().requires_grad_()
    (leaf**3).mean().backward()
    return leaf.grad


def trained(sizes: Sizes) -> Callable[..., Any]:
    """Adds to the gradient of weights in a closure, and returns it."""
    weight = torch.ones(sizes.columns, 3, requires_grad=True)

    def function(a: Any) -> Any:
        (a @ weight).square().mean().backward()
        return weight.grad

    return function


def descended(sizes: Sizes) -> Callable[..., Any]:
    """A step of training: the second call sees the weights of the first."""
    weight = torch.ones(sizes.columns, 3, requires_grad=True)

    def function(a: Any) -> Any:
        result = a @ weight
        (slope,) = torch.autograd.grad(result.square().mean(), [weight])
        with torch.no_grad():
            weight.sub_(slope, alpha=0.1)
        return result.detach()

    return function


def doubled_in_place(a: Any) -> Any:
    """Writes into the rows."""
    return a.mul_(2)


def counted(a: Any, i: Any, counts: Any) -> Any:
    """Counts ids in a tensor that all share."""
    counts.index_add_(0, i, torch.ones(len(i)))
    return a * 2


def buffered(sizes: Sizes) -> Callable[..., Any]:
    """Returns memory that the next call writes again."""
    buffer = torch.zeros(sizes.rows, sizes.columns)

    def function(a: Any) -> Any:
        part = buffer[: len(a)]
        return torch.mul(a, 2, out=part).add_(1)

    return function


def recorded_weights(sizes: Sizes) -> Any:
    """Weights whose gradient is recorded."""
    return torch.ones(sizes.columns, 3, requires_grad=True)


def hidden_table(sizes: Sizes) -> Callable[..., Any]:
    """Entries for rows in a closure."""
    table = torch.arange(sizes.rows * 1.0)[:, None]
    return lambda a: a + table[: len(a)]


def with_generator(sizes: Sizes) -> Callable[..., Any]:
    """Noise of a generator in a closure."""
    rng = torch.Generator().manual_seed(3)
    return lambda a: a + torch.randn(a.shape, generator=rng)


def generator(sizes: Sizes, rng: Any) -> Any:
    """One that is handed in."""
    return torch.Generator().manual_seed(3)


def parameters(sizes: Sizes, rng: Any) -> Any:
    """Weights by name."""
    return {"weight": torch.ones(3, sizes.columns), "bias": torch.arange(3.0)}


def parameter_dict(rows: Callable[[Sizes], int]) -> Callable[[Sizes, Any], Any]:
    """A module that is a dict of parameters."""

    def made(sizes: Sizes, rng: Any) -> Any:
        return torch.nn.ParameterDict({"y": torch.ones(rows(sizes), sizes.columns)})

    return made


PAIRS: tuple[Pair, ...] = (
    row_wise("tensors, elementwise", lambda a: torch.tanh(a) * 2, floats),
    row_wise("tensors, half", lambda a: a.bfloat16() * 3, floats),
    row_wise("tensors, softmax of each row", lambda a: a.softmax(1), floats),
    row_wise("tensors, top three", lambda a: a.topk(3, dim=1), floats),
    row_wise("tensors, values and places", lambda a: tuple(a.max(1)), floats),
    row_wise("tensors, normalised", lambda a: functional.normalize(a, dim=1), floats),
    row_wise("tensors, layer norm", lambda a: functional.layer_norm(a, a.shape[1:]), floats),
    row_wise("tensors, weights and bias", functional.linear, floats, matrix(11), lambda s,
             rng: torch.ones(11)),
    row_wise("tensors, weights of as many rows", lambda a, w: torch.tanh(a @ w.T), floats, floats, **FEWER),
    row_wise("tensors, square weights", lambda a, w: torch.tanh(a @ w), floats, floats, **SQUARE),
    row_wise("tensors, a bias as long as the batch", lambda a, b: a + b[None], floats, bias, **SQUARE),
    row_wise("tensors, partner", torch.cdist, floats, matrix(11)),
    row_wise("tensors, partner of as many rows", torch.cdist, floats, floats, **FEWER),
    row_wise("tensors, gather", lambda i, t: functional.embedding(i, t), ids(11), matrix(11)),
    row_wise("tensors, gather from as many rows", lambda i, t: t[i], ids(), floats),
    row_wise("tensors, gather, table first", lambda t, i: t.index_select(0, i), matrix(11), ids(11)),
    row_wise("tensors, loss of each row", lambda a, i: functional.cross_entropy(a, i, reduction="none"),
             floats, ids(6)),
    row_wise("tensors, a dict out", lambda a: {"y": a * 2, "best": a.argmax(1), "name": "tiny"}, floats),
    row_wise("tensors, labels", lambda a: {"y": a * 2, "label": [f"{v:.3f}" for v in a.amax(1).tolist()]},
             floats),
    row_wise("tensors, weights first", lambda p, a: functional.linear(a, p["weight"], p["bias"]), parameters,
             floats),
    row_wise("tensors, without gradients", torch.no_grad()(lambda a: a * 2), floats),
    row_wise("tensors, for inference", torch.inference_mode()(lambda a: a * 2), floats),
    row_wise("tensors, mapped over rows", torch.vmap(lambda row: row.sum() * row), floats),
    row_wise("tensors, two by rows", lambda a, s: a * s[:, None], floats, column),
    row_wise("tensors and arrays", lambda a, b: a + torch.from_numpy(b), floats, lambda s,
             rng: rng.normal(size=(s.rows, 1)).astype("f4")),
    row_wise("tensors, dtype", lambda a, dtype: a.to(dtype), floats, lambda s, rng: torch.float64),
    row_wise("tensors, an activation", lambda a, g: g(a), floats, lambda s, rng: torch.nn.GELU()),
    row_wise("tensors, recorded", lambda a: a * 2, lambda s, rng: floats(s, rng).requires_grad_()),
    row_wise("tensors, parameters in a closure", closing(lambda w, a: a @ w, recorded_weights), floats,
             made=True),
    mixing("tensors, less the mean", lambda a: a - a.mean(0), floats),
    mixing("tensors, batch norm", lambda a: functional.batch_norm(a, None, None, training=True), floats),
    mixing("tensors, normalised over rows", lambda a: functional.normalize(a, dim=0), floats),
    mixing("tensors, softmax over rows", lambda a: a.softmax(0), floats),
    mixing("tensors, cumulative sum", lambda a: a.cumsum(0), floats),
    mixing("tensors, places", lambda a: a + torch.arange(len(a))[:, None], floats),
    mixing("tensors, sorted", lambda a: a.sort(dim=0).values, floats),
    mixing("tensors, flipped", lambda a: a.flip(0), floats),
    mixing("tensors, differences", lambda a: a.diff(dim=0), floats),
    mixing("tensors, less the first row", lambda a: a - a[0], floats),
    mixing("tensors, neighbours by convolution", lambda a: functional.avg_pool1d(a.T[None], 3, 1, 1)[0].T,
           floats),
    mixing("tensors, transposed", lambda a: a.T, floats),
    mixing("tensors, rows on the second axis", lambda a: a.unsqueeze(0), floats),
    mixing("tensors, rows by rows", lambda a: a @ a.T, floats, **FEWER),
    mixing("tensors, attention among rows", lambda a: functional.scaled_dot_product_attention(a, a, a),
           floats, **FEWER),
    mixing("tensors, fewer rows", lambda a: a[a[:, 0] > 0], floats),
    mixing("tensors, twice", lambda a: a.repeat_interleave(2, 0), floats),
    mixing("tensors, distinct", torch.unique, ids(11)),
    mixing("tensors, mean of the loss", functional.cross_entropy, floats, ids(6)),
    mixing("tensors, the number of rows", lambda a: (a * 2, a.size(0)), floats),
    mixing("tensors, the shape", lambda a: (a * 2, a.shape), floats),
    mixing("tensors, of the list of rows", lambda a: list(a.unbind(0)), floats, **FEWER),
    mixing("tensors, gradient of each row", slope, floats),
    mixing("tensors, gradient of a mean", slope_of_mean, floats),
    mixing("tensors, gradient of weights", trained, floats, made=True),
    mixing("tensors, a step of training", descended, floats, made=True),
    mixing("tensors, doubled in place", doubled_in_place, floats),
    mixing("tensors, counts", counted, floats, ids(11), lambda s, rng: torch.zeros(11)),
    mixing("tensors, counts as many as rows", counted, floats, ids(), lambda s, rng: torch.zeros(s.rows)),
    mixing("tensors, a buffer", buffered, floats, made=True),
    mixing("tensors, a table in a closure", hidden_table, floats, made=True),
    mixing("tensors, in an object", lambda a, b: a + b.y[: len(a)], floats, wrapped_in(Plain, floats)),
    mixing("tensors, in a parameter dict", lambda a, b: a + b["y"][: len(a)], floats,
           parameter_dict(lambda s: s.rows)),
    mixing("tensors, weights in a parameter dict", lambda a, b: a @ b["y"].T, floats,
           parameter_dict(lambda s: 11)),
    mixing("tensors, of a list, one a row", lambda some: torch.stack(some) * 2, lambda s,
           rng: list(floats(s, rng).unbind(0)), **FEWER),
    drawn("tensors, noise", lambda a: a + torch.randn_like(a)),
    drawn("tensors, dropout", lambda a: functional.dropout(a, 0.5, training=True)),
    drawn("tensors, a drawn order", lambda a: a[torch.randperm(len(a))]),
    drawn("tensors, drawn by rows", lambda a: torch.multinomial(a.softmax(1), 1)),
    drawn("tensors, noise in place", lambda a: a.normal_()),
    drawn("tensors, noise of a generator in a closure", with_generator, made=True),
    drawn("tensors, noise of a generator handed in", lambda a, rng: a + torch.randn(a.shape, generator=rng),
          floats, generator),
    *MODULES,
)  # fmt: skip
