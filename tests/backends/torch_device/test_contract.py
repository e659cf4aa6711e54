"""The names and signatures used of torch's device modules, asked of the installed torch; needs no device."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

MUST_HAVE = {
    "Stream": {"priority"},
    "Event": set(),
    "current_stream": set(),
    "stream": set(),
    "current_device": set(),
    "mem_get_info": set(),
    "memory_stats": set(),
    "empty_cache": set(),
    "get_device_properties": set(),
}
"""What every device module must have, and the keywords used; what else is used is asked for before."""
OF_CUDA = {
    "CUDAGraph": set(),
    "graph_pool_handle": set(),
    "current_blas_handle": set(),
    "get_per_process_memory_fraction": set(),
    "get_allocator_backend": set(),
}


def parameters(function: Any) -> set[str]:
    """Names of the parameters, those of `__new__` for a class."""
    return set(inspect.signature(function.__new__ if inspect.isclass(function) else function).parameters)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for kind in ("cuda", "xpu") for name in MUST_HAVE),
        *(("cuda", name) for name in OF_CUDA),
    ],
)
def test_the_device_module_has_what_is_used_of_it(kind: str, name: str) -> None:
    function = getattr(torch.get_device_module(kind), name)
    assert callable(function)
    assert (MUST_HAVE | OF_CUDA)[name] <= parameters(function) | {"self"}


def test_a_capture_takes_a_pool_and_a_mode_and_graphs_replay() -> None:
    graph = torch.cuda.CUDAGraph
    assert {"pool", "capture_error_mode"} <= parameters(graph.capture_begin)
    assert callable(graph.capture_end) and callable(graph.replay)


def test_streams_and_events_have_what_orders_them() -> None:
    for kind in ("cuda", "xpu"):
        module = torch.get_device_module(kind)
        for name in ("wait_event", "wait_stream", "synchronize"):
            assert callable(getattr(module.Stream, name))
        for name in ("record", "query", "synchronize"):
            assert callable(getattr(module.Event, name))
