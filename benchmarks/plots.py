"""Plots of `docs/benchmarks.md`: `python -m benchmarks plots`, with matplotlib (extra `plot`).

Time against the size of a part for loops written by hand, ours as a line across; and what one ubatch costs
against how many there are. All lines of a picture were measured in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import microbatch
from benchmarks import expansion, growth, peer_black_scholes, peer_chain, workloads
from benchmarks.cpu import settled
from benchmarks.hand_loops import variants
from benchmarks.installed import missing
from benchmarks.timing import Timed, Variant, interleave

DOCS = Path(__file__).parents[1] / "docs"
ROUNDS = 5
COUNTS = (10, 100, 1_000, 10_000, 100_000)
LOOPS = {
    "cat": "hand loop, joined",
    "one fresh": "hand loop into a result, 1 worker",
    "two fresh": "hand loop into a result, 2 workers",
    "loop": "hand loop, joined",
}
"""Prefix of a variant -> its label."""
COLOURS = {"cat": "tab:gray", "one fresh": "tab:blue", "two fresh": "tab:green", "loop": "tab:gray"}


def main(arguments: Sequence[str]) -> int:
    """Draw both into `docs`, or into the folder that is named."""
    into = Path(arguments[0]) if arguments else DOCS
    why = missing("matplotlib") or missing("torch")
    if why:
        print(f"no plots: {why}")
        return 1
    time_against_size(into / "time-against-size.png")
    cost_of_a_ubatch(into / "cost-of-a-ubatch.png")
    return 0


def time_against_size(path: Path) -> None:
    """Three works beside each other."""
    measured = {"Black-Scholes, 8 M options": black_scholes(), "8 torch operations, 64 MiB": chain()}
    measured["hidden expansion, 1 MiB a row"] = expanding()
    figure = _figure(15)
    for number, (title, timed) in enumerate(measured.items(), start=1):
        axes = figure.add_subplot(1, len(measured), number)
        draw_sizes(axes, timed)
        axes.set_title(title)
    figure.savefig(path, dpi=100)


def draw_sizes(axes: Any, timed: Mapping[str, Timed]) -> None:
    """Loops as lines over the size, calls without one as lines across."""
    for prefix, label in LOOPS.items():
        points = points_of(timed, prefix)
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[prefix], label=label)
    for name, style in (("plain", "k:"), ("ours first", "r--"), ("ours", "r-")):
        if name in timed:
            label = {"plain": "plain call", "ours": "microbatch", "ours first": "microbatch, first call"}[
                name
            ]
            axes.axhline(timed[name].median * 1e3, color=style[0], linestyle=style[1:], label=label)
    axes.set(xscale="log", yscale="log", xlabel="rows of a part", ylabel="milliseconds")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small")


def points_of(timed: Mapping[str, Timed], prefix: str) -> list[tuple[int, float]]:
    """(rows of a part, milliseconds) of the loops of one kind, smallest first."""
    sizes = [name.removeprefix(f"{prefix} ") for name in timed if name.startswith(f"{prefix} ")]
    return sorted((int(size), timed[f"{prefix} {size}"].median * 1e3) for size in sizes if size.isdigit())


def cost_of_a_ubatch(path: Path) -> None:
    """Microseconds of one, alone and with progress told."""
    figure = _figure(6)
    axes = figure.add_subplot()
    for told, label in ((False, "sequential, trivial function"), (True, "the same, progress told")):
        found = growth.cost_by_count(COUNTS, told=told, rounds=ROUNDS)
        axes.plot(list(found), list(found.values()), "o-", label=label)
    axes.set(xscale="log", xlabel="ubatches of a step", ylabel="microseconds of one ubatch", ylim=(0, None))
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def black_scholes() -> Mapping[str, Timed]:
    """Three kinds of hand loops."""
    inputs = workloads.options(peer_black_scholes.COUNT)
    loops = variants(peer_black_scholes.work_of(inputs), tuple(1 << power for power in range(12, 21)))
    return _timed(workloads.black_scholes, inputs, loops)


def chain() -> Mapping[str, Timed]:
    """One worker, as torch itself uses all cores."""
    import torch

    x = torch.randn(peer_chain.SHAPE)
    loops = variants(peer_chain.work_of(x), tuple(1 << power for power in range(4, 13)), workers=("one",))
    return _timed(workloads.torch_chain, (x,), loops)


def expanding() -> Mapping[str, Timed]:
    """The plain call would take half a gigabyte for each array between."""
    x = expansion.inputs()
    loops = {f"loop {size}": (lambda size=size: expansion.loop(x, size)) for size in expansion.SIZES}
    return _timed(workloads.expand, (x,), loops, plain=False)


def _timed(
    function: Callable[..., Any], inputs: tuple[Any, ...], loops: Mapping[str, Variant], *, plain: bool = True
) -> Mapping[str, Timed]:
    wrapped = settled(function, *inputs)
    calls: dict[str, Variant] = {
        "ours": lambda: wrapped(*inputs),
        "ours first": lambda: microbatch.wrap(function)(*inputs),
        **{name: call for name, call in loops.items() if "kept" not in name},
    }
    return interleave(calls | ({"plain": lambda: function(*inputs)} if plain else {}), rounds=ROUNDS)


def _figure(width: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 4.5), layout="constrained")
