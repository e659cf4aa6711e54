"""Sentence vectors of a text file, by as many ranks as torchrun starts, into one file.

    torchrun --nproc-per-node 2 examples/embed_ranks.py topics.txt vectors.npy

Each rank takes a range of the lines, embeds them as micro-batches and writes its own rows of `vectors.npy`,
on one machine or on several that share the folder. Without torchrun it is one process. The file has its name
only once all rows are there. A rank that fails ends with its error, and torchrun then ends the others; nobody
waits for it, as a connection of a process that has ended is closed. `--function module:name` takes another
function of a list of texts than `minilm:embed`, which stands beside this file.
"""

from __future__ import annotations

import argparse
import inspect
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

import microbatch

LONGEST = timedelta(days=7)
"""How long a rank waits for one that is alive and slower."""


@record
def main() -> None:
    """Embed the lines of one file into another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, help="a text file, a text on each line")
    parser.add_argument("output", type=Path, help="the .npy file to write")
    parser.add_argument("--function", default="minilm:embed", help="module:function of a list of texts")
    given = parser.parse_args()
    module, _, name = given.function.partition(":")
    embed = getattr(import_module(module), name)
    with ranks() as (rank, world):
        started = time.perf_counter()
        rows, width = run(embed, given.input, given.output, rank, world)
        if rank == 0:
            seconds = time.perf_counter() - started
            told = f"{rows:,} texts as vectors of {width} in {seconds:.1f} s ({rows / seconds:,.0f} texts/s)"
            print(f"{told} by {world} {'rank' if world == 1 else 'ranks'}: {given.output}")


@contextmanager
def ranks() -> Any:
    """The number of this rank, and how many there are; one where torchrun has not started this process."""
    if "WORLD_SIZE" not in os.environ:
        yield 0, 1
        return
    dist.init_process_group("gloo", timeout=LONGEST)
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def run(embed: Callable[..., Any], source: Path, output: Path, rank: int, world: int) -> tuple[int, int]:
    """Write the rows of this rank; all rows and the width of a vector. Raises ValueError for no lines."""
    with source.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    if not count:
        raise ValueError(f"{source} has no lines, so there is nothing to embed")
    part = output.with_name(f"{output.name}.part")
    if rank == 0:
        make(embed, source, part, count)
    wait_for_all(world)
    file = np.lib.format.open_memmap(part, mode="r+")
    start, stop = count * rank // world, count * (rank + 1) // world
    if start < stop:
        with source.open(encoding="utf-8") as lines:
            texts = [line.rstrip("\n") for line in islice(lines, start, stop)]
        wrapped(embed)(texts, out=file[start:stop])
    file.flush()
    wait_for_all(world)
    if rank == 0:
        os.replace(part, output)
    return count, int(file[0].size)


def wait_for_all(world: int) -> None:
    """Until every rank has come this far; an error where one has ended."""
    if world > 1:
        dist.barrier()


def make(embed: Callable[..., Any], source: Path, part: Path, count: int) -> None:
    """Make the file for `count` rows like that of the first text."""
    with source.open(encoding="utf-8") as lines:
        first = np.asarray(embed([next(lines).rstrip("\n")]))
    np.lib.format.open_memmap(part, mode="w+", dtype=first.dtype, shape=(count, *first.shape[1:]))


def wrapped(embed: Callable[..., Any]) -> Callable[..., Any]:
    """`embed` in parts of texts of about one length, on the share of the machine that a rank has."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    layout = microbatch.Layout(
        inputs={next(iter(inspect.signature(embed).parameters)): microbatch.tokens()},
        outputs={"output": microbatch.tokens()},
        lengths=lambda args, kwargs: np.array([max(1, len(text)) for text in args[0]]),
    )
    return microbatch.wrap(
        embed,
        layout=layout,
        ranks="independent",  # the function talks to no other rank
        thread_pool_size=max(1, (os.cpu_count() or 1) // beside),
        memory_limit=f"{80 // beside}%",
    )


if __name__ == "__main__":
    main()
