"""Functions that communicate, as real models do, each with its plain call to compare with.

Invariant: but for those of `MIXING` rows do not depend on each other, and which rows another rank has changes
no row here; so the plain call says what is right, whatever the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import _functional_collectives as functional

import microbatch

WIDTH = 16
Function = Callable[[Any], Any]


def weights(seed: int = 0) -> Any:
    """The same on all ranks."""
    return torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)) / 4


def all_reduced(rank: int, size: int) -> Function:
    """Tensor parallel: the columns of a first layer and the rows of a second are shared out."""
    share = WIDTH // size
    first, second = weights(1), weights(2)
    mine = slice(rank * share, (rank + 1) * share)

    def all_reduced(x: Any) -> Any:
        y = torch.relu(x @ first[:, mine]) @ second[mine]
        dist.all_reduce(y)
        return y

    return all_reduced


def all_gathered(rank: int, size: int) -> Function:
    """Sharded weights, gathered before they are used."""
    shard = weights().chunk(size)[rank].contiguous()

    def all_gathered(x: Any) -> Any:
        shards = [torch.empty_like(shard) for _ in range(size)]
        dist.all_gather(shards, shard)
        return torch.tanh(x @ torch.cat(shards))

    return all_gathered


def reduce_scattered(rank: int, size: int) -> Function:
    """Tensor parallel with the columns of the result shared out, and gathered again."""
    share = WIDTH // size
    mine = slice(rank * share, (rank + 1) * share)
    first, second = weights(1), weights(2)

    def reduce_scattered(x: Any) -> Any:
        parts = torch.relu(x @ first[:, mine]) @ second[mine]
        columns = [part.contiguous() for part in parts.chunk(size, 1)]
        own = torch.empty_like(columns[0])
        dist.reduce_scatter(own, columns)
        gathered = [torch.empty_like(own) for _ in range(size)]
        dist.all_gather(gathered, own)
        return torch.cat(gathered, 1)

    return reduce_scattered


def all_to_all(rank: int, size: int) -> Function:
    """A mixture of experts, one a rank: rows travel to their expert and back, any number of them."""
    expert = weights(rank)

    def all_to_all(x: Any) -> Any:
        chosen = (x[:, 0].abs() * 7).long() % size
        order = chosen.argsort(stable=True)
        sends = torch.bincount(chosen, minlength=size)
        receives = torch.empty_like(sends)
        dist.all_to_all_single(receives, sends)
        counts = receives.tolist(), sends.tolist()
        arrived = x.new_empty(sum(counts[0]), WIDTH)
        dist.all_to_all_single(arrived, x[order].contiguous(), *counts)
        back = x.new_empty(len(x), WIDTH)
        dist.all_to_all_single(back, torch.tanh(arrived @ expert), counts[1], counts[0])
        mixed = torch.empty_like(x)
        mixed[order] = back
        return x + mixed

    return all_to_all


def functional_reduced(rank: int, size: int) -> Function:
    """As `all_reduced`, by the functional collectives, which compiled models use."""
    share = WIDTH // size
    first, second = weights(1), weights(2)
    mine = slice(rank * share, (rank + 1) * share)

    def functional_reduced(x: Any) -> Any:
        y = torch.relu(x @ first[:, mine]) @ second[mine]
        return functional.all_reduce(y, "sum", dist.group.WORLD) + 0

    return functional_reduced


def of_numpy(rank: int, size: int) -> Function:
    """A function of NumPy arrays that communicates inside."""
    inner = all_gathered(rank, size)

    def of_numpy(x: Any) -> Any:
        return inner(torch.from_numpy(x)).numpy()

    return of_numpy


def nested(rank: int, size: int) -> Function:
    """A wrapped function inside of it, which agrees for itself."""
    inner = microbatch.wrap(all_gathered(rank, size), num_ubatches=2)
    outer = all_to_all(rank, size)

    def nested(x: Any) -> Any:
        return outer(inner(x))

    return nested


FUNCTIONS: Mapping[str, Callable[[int, int], Function]] = MappingProxyType(
    {
        made.__name__: made
        for made in (
            all_reduced,
            all_gathered,
            reduce_scattered,
            all_to_all,
            functional_reduced,
            of_numpy,
            nested,
        )
    }
)
"""Name -> function(rank, size), which makes the function of a rank."""


def centred(rank: int, size: int) -> Function:
    """A batch norm over all ranks: each row less the mean of all rows of all ranks."""

    def centred(x: Any) -> Any:
        mean = torch.cat([x.sum(0), x.new_tensor([float(len(x))])])
        dist.all_reduce(mean)
        return x - mean[:-1] / mean[-1].clamp(min=1)

    return centred


def centred_alone(rank: int, size: int) -> Function:
    """Each row less the mean of the rows of this rank, then summed over the ranks by columns."""
    inner = all_gathered(rank, size)

    def centred_alone(x: Any) -> Any:
        return inner(x - x.mean(0))

    return centred_alone


def capped(rank: int, size: int) -> Function:
    """A mixture of experts that drops the rows of an expert above its share of them."""
    inner = all_to_all(rank, size)

    def capped(x: Any) -> Any:
        chosen = (x[:, 0].abs() * 7).long() % size
        place = torch.stack([(chosen == each).cumsum(0) for each in range(size)], 1)
        place = place.gather(1, chosen[:, None])[:, 0]
        return torch.where((place <= len(x) // size)[:, None], inner(x), x)

    return capped


MIXING: Mapping[str, Callable[[int, int], Function]] = MappingProxyType(
    {made.__name__: made for made in (centred, centred_alone, capped)}
)
"""The same for functions of which no part may be called alone: rows depend on each other."""
EQUAL_ROWS = frozenset({"all_reduced", "reduce_scattered", "functional_reduced"})
"""Those whose collectives are over rows, so that every rank must have as many, wrapped or not."""


def wrong_steps(
    rank: int, name: str, rows: list[list[int]], options: dict[str, Any], seed: int = 0
) -> list[str]:
    """Steps of one rank, `rows[step][rank]` of them; what was wrong about each."""
    size = dist.get_world_size()
    function = {**FUNCTIONS, **MIXING}[name](rank, size)
    told = []
    with microbatch.wrap(function, **options) as wrapped:
        for number, counts in enumerate(rows):
            of_all = name in EQUAL_ROWS
            x = batch(name, counts[0 if of_all else rank], seed + number + (0 if of_all else 1000 * rank))
            expected = function(x)
            answer = wrapped(x)
            if not np.allclose(answer, expected, atol=1e-4):
                report = wrapped.last_report
                told.append(f"{name}, step {number}, rows {counts}, {options}: {report.sizes}")
    return told


def batch(name: str, rows: int, seed: int) -> Any:
    """The rows of one rank."""
    made = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))
    return made.numpy() if name == "of_numpy" else made


def drawn_steps(draw: Random, size: int) -> tuple[str, list[list[int]], dict[str, Any], int]:
    """A function, the rows of each rank in some steps, and options."""
    options: dict[str, Any] = {"schedule": draw.choice(("auto", "sequential", "pingpong", "streamed"))}
    options["verify"] = "never"  # rows are independent
    cut = draw.choice(("num_ubatches", "max_tokens_per_ubatch", "threshold", ""))
    if cut == "threshold":
        options["policy"] = cut
    elif cut:
        options[cut] = draw.randrange(1, 7) if cut == "num_ubatches" else draw.choice((64, 700))
    highest = draw.choice((4, 40, 3000))
    counts = [[draw.choice((0, draw.randrange(highest))) for _ in range(size)] for _ in range(3)]
    return draw.choice(tuple(FUNCTIONS)), counts, options, draw.randrange(1 << 20)
