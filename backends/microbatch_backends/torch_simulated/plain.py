"""The block in which torch computes with plain tensors: nothing is recorded, cast, or shown to a mode.

Invariant: what runs inside is one kernel, as a device would run it, whatever the thread that happens to run
it has switched on (autograd, autocast, inference mode, dispatch and function modes). Kernels run in inference
mode, where tensors of either kind may be written; memory is made outside of it, by `lasting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


@contextmanager
def plain(*, inference: bool = True) -> Iterator[None]:
    """Kernels run inside, and nothing above them."""
    mode = torch._C._InferenceMode(inference)  # lasts as long as the name
    try:
        with (
            torch._C.DisableTorchFunction(),
            torch._C._DisableTorchDispatch(),
            torch._C._DisableAutocast(),
            torch._C._AutoDispatchBelowAutograd(),
        ):
            yield
    finally:
        del mode


def lasting() -> AbstractContextManager[None]:
    """The block in which memory is made: its tensors may be used in any mode."""
    return plain(inference=False)
