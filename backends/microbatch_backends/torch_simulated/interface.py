"""What a tensor asks of its device; `operations.TorchOperations` is it."""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Operations(Protocol):
    """Runs what is called on tensors of one simulated device."""

    def dispatch(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Queue one of torch's operations."""
        ...

    def function(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call one of torch's Python functions."""
        ...

    def to_host(self, tensor: Any, *, non_blocking: bool) -> torch.Tensor:
        """A copy on the host, behind the current stream's work."""
        ...

    def move(self, tensor: Any, other: Any) -> None:
        """Let `tensor` be where `other` is."""
        ...

    def record_stream(self, tensor: Any, stream: Any) -> None:
        """Note that `stream` uses the memory of `tensor`."""
        ...
