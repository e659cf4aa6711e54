"""What a step sets for the process or the thread while it runs; two equal answers mean it was put back."""

from __future__ import annotations

import os
import random
import sys
import warnings
from typing import Any

import numpy as np

from microbatch import dbo
from microbatch.turns.context import current_ubatch

__all__ = ["surroundings"]


def surroundings() -> dict[str, Any]:
    """Each thing by its name, as a value that compares."""
    from microbatch_backends.host.blas import process_blas_limit

    found: dict[str, Any] = {
        "threads of BLAS": process_blas_limit().read(),
        "threads that hold it": process_blas_limit().threads(),
        "ubatch": current_ubatch(),
        "seat": dbo.dbo_enabled(),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "random numbers": random.getstate(),
        "random numbers of NumPy": str(np.random.get_state()),
        "errors of NumPy": np.geterr(),
        "warnings": list(warnings.filters),
        "switch interval": sys.getswitchinterval(),
    }
    return found | (_of_torch() if "torch" in sys.modules else {})


def _of_torch() -> dict[str, Any]:
    import torch

    from microbatch_backends.torch_device.limits import process_torch_threads
    from microbatch_backends.torch_device.modes import read_modes

    return {
        "threads of torch": torch.get_num_threads(),
        "threads that hold them": process_torch_threads().threads(),
        "modes": read_modes(("cpu",)),
        "autocast blocks": torch.autocast_increment_nesting() - 1 + 0 * torch.autocast_decrement_nesting(),
        "random numbers of torch": torch.get_rng_state().numpy().tobytes(),
    }
