"""What a backend suite is given by whoever runs it.

Invariant: arrays are made and read by the hooks here, which go around the backend under test: a backend whose
copies are wrong cannot hide it by copying back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, ClassVar

import numpy as np
import pytest

from microbatch.extend.abilities import SupportsJoins
from microbatch.extend.protocols import Backend, Stream
from microbatch.extend.records import FailureKind
from microbatch.testing.properties import PropertySuite


class BackendChecks(PropertySuite):
    """Hooks; all but `make_backend` have a default that fits a backend whose arrays are NumPy's."""

    registered_name: ClassVar[str | None] = None
    """Name under which a plugin announces the backend; None skips the checks of its announcement."""
    frameworks: ClassVar[tuple[str, ...]] = ()
    """Top-level modules that probing the backend must not import."""
    dtypes: ClassVar[tuple[str, ...]] = ("f4", "i4")
    """Dtypes of arrays to check with; the first must hold whole numbers up to 2**20 exactly."""

    def make_backend(self) -> Backend:
        """The backend under test; called once per example."""
        raise AssertionError(f"{type(self).__name__} has no make_backend(); define it to return your backend")

    def make_array(self, backend: Backend, values: np.ndarray) -> Any:
        """An array of the backend with these values, ready for any stream."""
        return values.copy()

    def make_buffer(self, backend: Backend, values: np.ndarray) -> Any:
        """An array that `add_one` may write to, where those of the backend cannot be written to (`joins`):
        one of the host. Else as `make_array`."""
        if isinstance(backend, SupportsJoins) and backend.joins:
            return values.copy()
        return self.make_array(backend, values)

    def to_numpy(self, array: Any) -> np.ndarray:
        """The values of an array whose work has been waited for."""
        return np.asarray(array)

    def add_one(self, array: Any) -> None:
        """Add one to every element of a buffer in place, on the current stream."""
        array += 1

    def failures(self) -> Iterable[tuple[BaseException, FailureKind]]:
        """Errors and what `classify` must say; add what the framework raises."""
        chained = RuntimeError("the step failed")
        chained.__cause__ = MemoryError("no room")
        return (
            (MemoryError("no room"), FailureKind.OOM),
            (chained, FailureKind.OOM),
            (ValueError("out of memory"), FailureKind.OTHER),
            (KeyError("row"), FailureKind.OTHER),
        )

    def run_out_of_memory(self, backend: Backend) -> None:
        """Make arrays until the device has no room; skips the test unless you define it.

        Do it within a limit of the framework's pool, so that nothing else on the machine suffers.
        """
        pytest.skip(f"the suite does not say how {backend.name!r} runs out of memory: run_out_of_memory()")

    def require(self, backend: Backend, ability: type) -> Any:
        """`backend` if it has the optional ability; skips the test where it has not."""
        if not isinstance(backend, ability):
            pytest.skip(f"{backend.name!r} has no {ability.__name__}, which is optional")
        return backend

    def assert_values(self, backend: Backend, array: Any, expected: np.ndarray) -> None:
        """Wait for the current stream, and compare."""
        backend.current_stream().synchronize()
        np.testing.assert_array_equal(self.to_numpy(array), expected)

    def begin(self, backend: Backend, streams: Iterable[Stream]) -> None:
        """Order `streams` after the making of arrays."""
        event = backend.event()
        event.record(backend.current_stream())
        for stream in streams:
            stream.wait(event)

    def numbers(self, rows: int, columns: int = 2, start: int = 0) -> np.ndarray:
        """An array in which every element differs."""
        return (np.arange(rows * columns) + start).reshape(rows, columns).astype(self.dtypes[0])


def in_threads(*bodies: Callable[[], object]) -> list[object]:
    """What each returns, run in a thread of its own; raises the first error once all have ended."""
    pool = ThreadPoolExecutor(len(bodies))
    futures = [pool.submit(body) for body in bodies]
    running = wait(futures, timeout=30).not_done
    pool.shutdown(wait=not running)  # a thread that hangs fails the test, which must not hang too
    assert not running
    return [future.result() for future in futures]
