"""All texts of real libraries that `classify` is held to: of memory, and what must not be taken for it."""

from __future__ import annotations

from tests.backends.failures import real_cuda, real_devices, real_frameworks, real_host, real_others
from tests.backends.failures.real_text import RealText

TEXTS: tuple[RealText, ...] = (
    *real_cuda.TEXTS,
    *real_devices.TEXTS,
    *real_frameworks.TEXTS,
    *real_host.TEXTS,
    *real_others.TEXTS,
)
