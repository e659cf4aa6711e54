"""Tests of a CUDA device that do not run on the simulated one, and why; as in `docs/testing.md`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NEEDS_A_DEVICE", "reason"]

NEEDS_A_DEVICE: Mapping[str, str] = MappingProxyType(
    {
        "test_pitfalls_torch.py::test_pitfall_14_another_thread_does_not_kill_a_capture": (
            "a simulated capture has no modes, so no other thread can end it"
        ),
        "test_pitfalls_torch.py::test_pitfall_15_after_a_broken_capture_random_numbers_and_memory_"
        "are_as_before": ("torch's own allocator and generator are what stays switched on"),
        "test_pitfalls_torch.py::test_pitfall_16_a_graph_outlives_the_workspaces_of_ended_threads": (
            "workspaces are cuBLAS's"
        ),
        "test_pitfalls_torch.py::test_pitfall_29_streams_of_two_devices_are_not_equal": (
            "there is one simulated device, and two are compared"
        ),
        "test_sanitizers.py::test_torchs_stream_sanitizer_reports_nothing": (
            "torch's sanitizer is told by its CUDA build; `races()` looks for the same"
        ),
        "test_sanitizers.py::test_torchs_stream_sanitizer_sees_a_forgotten_wait": (
            "torch's sanitizer is told by its CUDA build; `races()` looks for the same"
        ),
        "test_sanitizers.py::test_memcheck_reports_nothing": "memcheck watches the device's own instructions",
    }
)
"""Test without parameters, its class or its file -> why."""


def reason(node: str, table: Mapping[str, str] = NEEDS_A_DEVICE) -> str | None:
    """Why the test of that node id needs a real device, or None."""
    place = node.rpartition("/")[2].partition("[")[0]
    return next((why for test, why in table.items() if f"{place}::".startswith(f"{test}::")), None)
