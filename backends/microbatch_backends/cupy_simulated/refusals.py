"""How what cannot be captured is told, in CuPy's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from microbatch.testing.simulated.capture import CaptureRefusedError

UNSUPPORTED, UNJOINED = 900, 904
"""cudaErrorStreamCaptureUnsupported, and cudaErrorStreamCaptureUnjoined."""


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where CUDA fails."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        """The number of the error."""


@contextmanager
def as_cupy() -> Iterator[None]:
    """A refused capture is told as CuPy tells it."""
    try:
        yield
    except CaptureRefusedError as error:
        raise CUDARuntimeError(
            UNSUPPORTED,
            f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing ({error})",
        ) from error
