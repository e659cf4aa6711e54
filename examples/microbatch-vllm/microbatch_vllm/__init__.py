"""A vLLM plugin: `--enable-dbo` and `--ubatch-size` run on microbatch's ring.

Invariant: importing this loads neither torch nor vLLM. vLLM calls `register` in each of its processes, more
than once.
"""

from __future__ import annotations

from microbatch_vllm.replacing import register, unregister

__all__ = ["register", "unregister"]
