"""The seam to JAX: the one place that imports it, when something of this package is first used.

Rejected: import statements in each module, which a type checker without JAX would have to pass over.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

jax: Any = import_module("jax")
"""The module; `jax.numpy` and `jax.random` are loaded with it."""
