"""Thirty ways in which a naive implementation of micro-batches breaks; tests say by number which they guard
against.

A test carries its numbers as `@pytest.mark.pitfall(9, 12)`; `tests/test_marks.py` sees that none is left out,
and `python -m tests.teeth.guards` takes guards out of the package one by one and runs the tests of their
pitfalls.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PITFALLS"]

PITFALLS: Mapping[int, str] = MappingProxyType(
    {
        1: (
            "A worker thread starts without the caller's grad, inference and autocast modes and "
            "default device."
        ),
        2: "Modes that the function leaves set live on in the worker, or leak into the caller.",
        3: "Context variables and NumPy's error state are the defaults again inside a ubatch.",
        4: "A worker uses another number of intra-op threads than its share of the cores.",
        5: "Ubatches that yield unequally often wait for a turn that never comes.",
        6: (
            "After an error in one ubatch a sibling stays parked, or half of the result is missing in "
            "silence."
        ),
        7: "An error before a ubatch has begun, in its thread's set-up, leaves the others at the start line.",
        8: "An event recorded after the turn was passed covers the sibling's work too, and nothing overlaps.",
        9: "The step does not wait for the stream that makes its inputs, or the caller not for the step.",
        10: "Memory freed while another stream still reads it is given to somebody else.",
        11: "The host reads a result whose copy from the device has not finished.",
        12: "A staging buffer is filled again before the copy from it has finished.",
        13: "Host memory is not pinned, so copies wait for each other and nobody says so.",
        14: "What another thread does meanwhile kills a capture.",
        15: "A stream that took part in a capture is not joined at its end, and stays in capture mode.",
        16: "A graph uses workspaces of a thread or stream that has gone since it was captured.",
        17: "Graphs that share memory are replayed at the same time.",
        18: (
            "The next replay overwrites a result that the caller still holds, or reads an input that "
            "was freed."
        ),
        19: "Rows added as padding, or rows of another part, take part in a result that mixes rows.",
        20: "With the same seed, random numbers come out differently from run to run.",
        21: "A leaf that only happens to have as many rows as the batch is cut with it.",
        22: "An empty batch, a last part of one row, or fewer rows than parts.",
        23: "Parts that run side by side change the same buffers of a module.",
        24: "A wrapper is called inside itself, or from two threads at once.",
        25: "The process forks, or ends, while workers are parked.",
        26: "Ctrl-C arrives while ubatches are parked.",
        27: "An optional input is asked for its truth value, which an array has not.",
        28: "The framework refuses to capture an operation, or hands a graph's memory to others afterwards.",
        29: "Streams or events of two devices are taken for one another.",
        30: "Cutting costs more than it gains, and the step is slower than the plain call.",
    }
)
"""What goes wrong, by number."""
