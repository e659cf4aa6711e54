"""Shared by the tests of binding, gathering and the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microbatch.cutting.cut import cut
from microbatch.gathering.gather import Gather, Outputs
from microbatch_backends.host.backend import CpuBackend
from tests.support.binding import bind
from tests.support.site import site  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def backend() -> CpuBackend:
    return CpuBackend()


@pytest.fixture(scope="session")
def run_cut(backend: CpuBackend) -> Callable[..., Any]:
    """Call a function ubatch by ubatch, stored in a drawn order, and gather."""

    def run(
        function: Callable[..., Any],
        *args: Any,
        layout: Any = None,
        out: Any = None,
        order: Callable[[list[int]], list[int]] = list,
        on: Any = None,
        **how: Any,
    ) -> Any:
        kwargs = how.pop("kwargs", {})
        on = on or backend
        batch = bind(layout, args, kwargs, backend=on, names=how.pop("names", ()))
        made = cut(batch.shape, **how)
        gather = Gather(batch, made, on, Outputs(layout=layout, out=out))
        cut_batch = batch if made.permutation is None else batch.permuted(made.permutation, on)
        for index in order(list(range(len(made.slices)))):
            trim = None if made.trims is None else made.trims[index]
            part_args, part_kwargs = cut_batch.part(made.slices[index], trim, index)
            gather.store(index, function(*part_args, **part_kwargs))
        return gather.result()

    return run
