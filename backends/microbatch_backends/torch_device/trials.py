"""Calls that leave no trace in torch: nothing is recorded for gradients, and random numbers are put back.

Invariant: the states of the host's generator and of the current device's are as before, however the calls
end, and so is what autograd records. Reading a state takes 2 us on the host and copies 16 bytes from a
device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.modes import Unrecorded


class Trial:
    """The block around the calls, which may be left more than once.

    Entering it gives a function that says whether random numbers were drawn inside until then.
    """

    __slots__ = ("_device", "_host", "_left", "_module", "_unrecorded")

    def __init__(self, module: DeviceModule | None = None) -> None:
        self._module = module
        self._host = torch.get_rng_state()
        self._device: Any = None if module is None else module.random_state()
        self._unrecorded = Unrecorded()
        self._left = False

    def __enter__(self) -> Callable[[], bool]:
        self._unrecorded.__enter__()
        return self._drawn

    def __exit__(self, *exc_info: object) -> None:
        if self._left:
            return  # other threads may have drawn since
        self._unrecorded.__exit__()
        torch.set_rng_state(self._host)
        if self._module is not None:
            self._module.set_random_state(self._device)
        self._left = True

    def _drawn(self) -> bool:
        if not torch.equal(self._host, torch.get_rng_state()):
            return True
        module, device = self._module, self._device
        return module is not None and device is not None and not torch.equal(device, module.random_state())
