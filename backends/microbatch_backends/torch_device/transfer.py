"""Copies between host and device that overlap with compute.

Invariant: a copy is asynchronous only when its host side is pinned. From pageable memory the driver makes the
host wait anyway. A copy *to* pageable memory would return before the bytes are there, and a reader would see
old ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from microbatch_backends.torch_device import arrays

__all__ = ["empty_device", "staging", "to_device", "to_host"]


def staging(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """A pinned host buffer with the dtype of `like`. Pinning costs milliseconds, so use one many times."""
    return torch.empty(tuple(shape), dtype=like.dtype, device="cpu", pin_memory=True)


def to_device(destination: torch.Tensor, source: torch.Tensor) -> None:
    """Copy host to device on the current stream; the host goes on when `source` is pinned."""
    arrays.copy(destination, source, non_blocking=source.is_pinned())


def to_host(destination: torch.Tensor, source: torch.Tensor) -> None:
    """Copy device to host on the current stream; the host goes on when `destination` is pinned."""
    arrays.copy(destination, source, non_blocking=destination.is_pinned())


def empty_device(shape: Sequence[int], like: torch.Tensor, device: torch.device) -> torch.Tensor:
    """An uninitialised tensor on `device` with the dtype of `like`."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=device)
