"""Blocks through actors of a real Ray of two CPUs, run as a script. Prints what came out, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import ray

import microbatch
from microbatch_integrations.ray import actor

MOST = 40
"""Rows above which the functions here run out of memory."""


class Embed:
    """Hashes of texts, times a number that it was made with."""

    def __init__(self, factor: int, *, shift: int = 0) -> None:
        self.factor, self.shift = factor, shift

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if len(batch["text"]) > MOST:
            raise MemoryError("too many rows")
        lengths = np.array([len(text) for text in batch["text"]])
        return {"id": batch["id"], "vector": np.stack([lengths * self.factor + self.shift, lengths], axis=1)}


def doubled(batch: Any) -> Any:
    """A function of frames."""
    if len(batch) > MOST:
        raise MemoryError("too many rows")
    return batch.assign(id=batch["id"] * 2)


@microbatch.wrap(num_ubatches=3)
def decorated(batch: dict[str, Any]) -> dict[str, Any]:
    """A function that is wrapped already."""
    return {"id": batch["id"] + 1}


def broken(batch: dict[str, Any]) -> dict[str, Any]:
    """A function that fails."""
    raise ValueError(f"no rows of mine: {len(batch['id'])}")


class Looked(actor(doubled)):  # type: ignore[misc]
    """On how many threads the parts of a block may run."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"threads": np.full(len(batch["id"]), self.wrapped.microbatch.options.thread_pool_size)}


class Asked(actor(doubled, thread_pool_size=3)):  # type: ignore[misc]
    """The same, with an option."""

    __call__ = Looked.__call__


def main(folder: str) -> dict[str, Any]:
    """One data set through each."""
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=folder, object_store_memory=100 * 2**20)
    two, one = (ray.data.ActorPoolStrategy(size=size) for size in (2, 1))
    rows = [{"id": row, "text": "x" * (row % 11)} for row in range(300)]
    texts = ray.data.from_items(rows, override_num_blocks=2)

    def run(target: Any, **given: Any) -> Any:
        given.setdefault("compute", one if "num_cpus" in given else two)
        return texts.map_batches(target, batch_size=None, **given).take_all()

    embed = actor(Embed, progress=True)
    vectors = run(embed, fn_constructor_args=(3,), fn_constructor_kwargs={"shift": 1})
    frames = run(actor(doubled), batch_format="pandas", compute=None, concurrency=2)
    said = {
        "vectors": sorted((row["id"], *row["vector"].tolist()) for row in vectors),
        "frames": sorted((row["id"], row["text"]) for row in frames),
        "wrapped": sorted(row["id"] for row in run(actor(decorated))),
        "task": sorted(row["id"] for row in texts.map_batches(decorated, batch_size=None).take_all()),
        "threads": [
            sorted({row["threads"] for row in run(target, num_cpus=cpus)})
            for target, cpus in ((Looked, 1), (Looked, 2), (Asked, 1))
        ],
        "name": embed.__name__,
    }
    try:
        run(actor(broken))
    except Exception as error:  # noqa: BLE001 - whatever Ray makes of it
        said["error"] = str(error)
    return said


if __name__ == "__main__":
    try:
        print("SAID" + json.dumps(main(sys.argv[1])))
    finally:
        ray.shutdown()
