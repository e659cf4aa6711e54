"""A JSON lines file through an engine that runs on many machines: see "From one file to a cluster".

    python examples/clusters.py ray rows.jsonl
    python examples/clusters.py dask rows.jsonl
    python examples/clusters.py datasets rows.jsonl

The engine says where blocks of rows run; each block is cut to what fits there. Here all of it is this
machine: two actors, a cluster of two processes, two processes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from words import count

import microbatch


def counted(batch: Any) -> dict[str, Any]:
    """Words and letters of a block, by name."""
    return {"id": batch["id"], **count(list(batch["text"]))}


def counted_frame(frame: Any) -> Any:
    """The same of a frame, with its index."""
    return frame[["id"]].assign(**count(frame["text"].tolist()))


def by_ray(path: str) -> Any:
    """In actors of Ray; a class would be made in each of them."""
    import ray

    from microbatch_integrations.ray import actor

    ray.init(num_cpus=4, include_dashboard=False)  # two for the actors, and some for the tasks that read
    try:
        rows, pool = ray.data.read_json(path, lines=True), ray.data.ActorPoolStrategy(size=2)
        return rows.map_batches(actor(counted), batch_size=None, compute=pool).to_pandas()
    finally:
        ray.shutdown()


def by_dask(path: str) -> Any:
    """In the processes of Dask."""
    import dask.dataframe
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        frame = dask.dataframe.read_json(path, lines=True, blocksize=2**16)
        columns = {"id": "int64", "words": "int64", "letters": "int64"}
        return frame.map_partitions(microbatch.wrap(counted_frame), meta=columns).compute()


def by_datasets(path: str) -> Any:
    """In the processes of datasets; a second run finds the result in its cache."""
    import datasets

    rows = datasets.load_dataset("json", data_files=path, split="train")
    return rows.map(microbatch.wrap(counted), batched=True, batch_size=None, num_proc=2).to_pandas()


ENGINES: dict[str, Callable[[str], Any]] = {"ray": by_ray, "dask": by_dask, "datasets": by_datasets}

if __name__ == "__main__":
    engine, path = sys.argv[1:]
    frame = ENGINES[engine](path)
    print(
        f"{engine}: {len(frame):,} rows, {frame['words'].sum():,} words, {frame['letters'].sum():,} letters"
    )
