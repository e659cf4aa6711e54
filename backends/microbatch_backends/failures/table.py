"""The table of failures: all rows, in the order they are asked.

Invariant: a lost device is asked for first, then what may or may not be memory, whatever the class says, then
sizes and memory.
"""

from __future__ import annotations

from microbatch_backends.failures import (
    cuda_texts,
    dead_texts,
    device_texts,
    framework_texts,
    host_texts,
    size_texts,
    suspect_texts,
)
from microbatch_backends.failures.family import Family

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    *dead_texts.FAMILIES,
    *suspect_texts.FAMILIES,
    *size_texts.FAMILIES,
    *cuda_texts.FAMILIES,
    *device_texts.FAMILIES,
    *framework_texts.FAMILIES,
    *host_texts.FAMILIES,
)
