"""Whole models with random weights, one batch: time settled, time of the first call, and peak memory.

Invariant: the first output of both sides is compared, bit for bit or by the largest difference. Memory is
that of a fresh process, since a peak cannot be taken back, above what the model itself and a call on two rows
take: `python -m benchmarks.models memory ours BERT`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import microbatch
from benchmarks.cpu import chosen, settled
from benchmarks.hand_loops import Work
from benchmarks.installed import missing
from benchmarks.knn import _peak_mib
from benchmarks.possible import by_hand
from benchmarks.table import Row, ratio_row, skipped_row
from benchmarks.timing import Timed, interleave

FIRST = 1.1
"""How much slower than the plain call a first call may be."""
SETTLE = 20
"""Calls before times are taken: up to seven sizes are measured, on one worker too, and some compared."""
SIZES = (2, 4, 8, 16)
"""Rows of a part of a loop by hand."""
CLOSE = 1e-4
"""Largest difference that counts as the same output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One kind of model."""

    make: Callable[[], Any]
    """The model, in evaluation mode, without gradients."""
    batch: Callable[[], Any]
    """Its input."""
    at_least: float
    """How many times faster than the plain call it is to be."""


def _made(name: str, config: str, **sizes: Any) -> Any:
    import transformers

    kind, settings = getattr(transformers, name), getattr(transformers, config)(**sizes)
    return kind(settings).eval().requires_grad_(False)


def _cnn() -> Any:
    from torch import nn

    widths, layers = (3, 32, 64, 64), []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10)).eval()


def _small_cnn() -> Any:
    model = _cnn()
    model(_images(2, 64))  # the last layer then has its size
    return model.requires_grad_(False)


def _texts(rows: int, length: int, words: int) -> Any:
    import torch

    return torch.randint(5, words, (rows, length))


def _images(rows: int, side: int) -> Any:
    import torch

    return torch.randn(rows, 3, side, side)


STAGES = {"depths": [2, 2, 6, 2], "hidden_sizes": [32, 64, 128, 256]}
WIDTHS = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
MODELS: Mapping[str, Model] = {
    "BERT": Model(
        make=lambda: _made("BertModel", "BertConfig", **WIDTHS),
        batch=lambda: _texts(32, 128, 30_000),
        at_least=1.30,
    ),
    "ViT": Model(
        make=lambda: _made("ViTModel", "ViTConfig", **WIDTHS), batch=lambda: _images(32, 224), at_least=1.11
    ),
    "ConvNeXt": Model(
        make=lambda: _made("ConvNextModel", "ConvNextConfig", **STAGES),
        batch=lambda: _images(32, 128),
        at_least=1.22,
    ),
    "GPT-2 logits": Model(
        make=lambda: _made("GPT2LMHeadModel", "GPT2Config", n_embd=256, n_layer=4, n_head=4, use_cache=False),
        batch=lambda: _texts(32, 32, 50_000),
        at_least=0.99,
    ),
    "small CNN": Model(make=_small_cnn, batch=lambda: _images(64, 64), at_least=2.47),
}  # fmt: skip
"""The aims are what was measured in November 2026, and nowhere below 0.99."""


def table() -> Sequence[Row]:
    """Four rows a model."""
    rows: list[Row] = []
    for name, model in MODELS.items():
        why = missing("torch") or ("" if name == "small CNN" else missing("transformers"))
        rows += [skipped_row(name, "the plain call", why)] if why else measured(name, model)
    return rows


def measured(name: str, model: Model) -> Sequence[Row]:
    """Settled, first call, what was possible, peak memory."""
    import torch

    torch.manual_seed(7)
    function, x = model.make(), model.batch()
    wrapped = settled(function, x, calls=SETTLE)
    timed = interleave(
        {
            "plain": lambda: function(x),
            "ours": lambda: wrapped(x),
            "ours first": lambda: microbatch.wrap(function)(x),
        },
        rounds=7,
        same=_same,
    )
    difference = _difference(wrapped(x), function(x))
    equal = "bit for bit" if difference == 0 else f"{difference:.0e}"
    work = f"{name}, random weights, batch of {len(x)}"
    details = {"difference": equal, **chosen(wrapped)}
    return [
        _row(work, "the plain call", model.at_least, timed, "ours", details),
        _row(work, "the plain call, first call of a wrapper", round(1 / FIRST, 2), timed, "ours first", {}),
        by_hand(work, _loops(function, x), SIZES, lambda: wrapped(x), _same),
        memory(name, work),
    ]


def _loops(function: Any, x: Any) -> Work:
    """What loops by hand must know of a model: its outputs as a tuple."""
    import torch

    def outputs(rows: Any) -> tuple[Any, ...]:
        found = function(rows)
        return (found,) if hasattr(found, "shape") else tuple(found.to_tuple())

    like = outputs(x)
    return Work(
        function=outputs,
        inputs=(x,),
        join=lambda parts: tuple(torch.cat(each) for each in zip(*parts, strict=True)),
        empty=lambda: tuple(map(torch.empty_like, like)),
    )


def _same(got: Any, plain: Any) -> bool:
    return _difference(got, plain) <= CLOSE


def _row(
    work: str, against: str, at_least: float, timed: Mapping[str, Timed], ours: str, details: dict[str, Any]
) -> Row:
    base = timed["plain"].median
    return ratio_row(work, against, at_least=at_least, base=base, ours=timed[ours].median, details=details)


def memory(name: str, work: str) -> Row:
    """Peak memory of one call above that before it, in fresh processes."""
    plain, ours = (_child(side, name) for side in ("plain", "ours"))
    return Row(
        work=work,
        against="the plain call, peak memory of one call",
        aim="<= the plain call's",
        measured=f"{plain / ours:.1f}x less",
        reached=plain >= ours,
        details={"plain": f"{plain:.0f} MiB", "ours": f"{ours:.0f} MiB"},
    )


def _child(side: str, name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.models", "memory", side, name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def peak(side: str, name: str) -> float:
    """MiB of one call in this process."""
    model = MODELS[name]
    function, x = model.make(), model.batch()
    function(x[:2])
    step = function if side == "plain" else microbatch.wrap(function)
    before = _peak_mib()
    step(x)
    return max(_peak_mib() - before, 0.1)


def _difference(got: Any, plain: Any) -> float:
    """Largest difference of the first output."""
    first = [one if hasattr(one, "shape") else one[0] for one in (got, plain)]
    return float((first[0] - first[1]).abs().max())


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(peak(sys.argv[2], sys.argv[3])))
    else:
        from benchmarks.table import show

        show(
            "Whole models", [row for name in sys.argv[1:] for row in measured(name, MODELS[name])] or table()
        )
