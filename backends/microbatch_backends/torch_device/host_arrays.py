"""NumPy's arrays as tensors, for functions that run on the rows of files.

Invariant: the function may write into what it gets, and the file stays as it is: what is read-only (a mapped
file), of a foreign byte order or of odd strides is copied.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch


def from_host(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A tensor on the CPU with the values of `array`."""
    native = array.dtype.newbyteorder("=")
    plain = array.flags.writeable and array.dtype == native and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if plain else np.array(array, native))


def inference() -> AbstractContextManager[None]:
    """No gradients are recorded inside. Tensors stay usable outside, as those of `inference_mode` are not."""
    return torch.no_grad()
