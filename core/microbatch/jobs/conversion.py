"""Rows of files as arrays of the backend that was named, such as tensors for `torch-cpu`.

Invariant: core names no framework: a backend that can make its arrays of NumPy's says so
(`SupportsHostArrays`). Without one, functions get NumPy's arrays. Texts and other lists stay as they are.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from microbatch.extend.abilities import SupportsHostArrays
from microbatch.files.inputs import Inputs
from microbatch.loading.plugins import default_plugins

NUMBERS = "biufc"
"""Kinds of numbers that every framework has."""


class Conversion:
    """What is done to rows before a step, by the named backend."""

    def __init__(self, backend: str) -> None:
        """Raises BackendUnavailableError or UnknownNameError."""
        found: Any = None if backend == "auto" else default_plugins().backend(backend)
        self.on_host = found is None or bool(found.parallel)
        """Whether steps may write into memory of NumPy."""
        self._backend: SupportsHostArrays | None = found if isinstance(found, SupportsHostArrays) else None
        self.active = self._backend is not None
        """Whether arrays become those of another framework."""

    def of(self, inputs: Inputs) -> Inputs:
        """The same rows as arrays of the backend."""
        if self._backend is None:
            return inputs
        args = tuple(self._converted(value) for value in inputs.args)
        kwargs = {name: self._converted(value) for name, value in inputs.kwargs.items()}
        return replace(inputs, args=args, kwargs=kwargs)

    def inference(self) -> AbstractContextManager[None]:
        """Inside, nothing is recorded for gradients."""
        return nullcontext() if self._backend is None else self._backend.inference()

    def _converted(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in NUMBERS:
            return value
        assert self._backend is not None
        return self._backend.from_host(value)
