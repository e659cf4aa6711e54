"""Random numbers of the device.

Invariant: what an operation draws follows from the device's generator at its launch, as on a real device, so
it does not depend on when the operation runs. The host's random numbers are as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn(seed: int | None) -> Iterator[None]:
    """Random numbers come from `seed` inside; None for work that draws none."""
    if seed is None:
        yield
        return
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
