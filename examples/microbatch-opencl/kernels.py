"""Kernels for `microbatch run kernels.py:FUNCTION --backend opencl`: float32 rows in, float32 rows out.

With `--schedule streamed` rows arrive on the device, copied there beside the kernel before; else as host
rows, and the function copies them itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyopencl as cl
from microbatch_opencl.arrays import ClArray
from microbatch_opencl.backend import OpenClBackend, default_context

SOURCE = """
__kernel void softplus(__global float *to, ulong to_first, __global const float *from, ulong from_first) {
    size_t i = get_global_id(0);
    float x = from[from_first + i];
    to[to_first + i] = fmax(x, 0.0f) + log1p(exp(-fabs(x)));
}
"""


@cache
def program() -> Any:
    """Built once a process."""
    return cl.Program(default_context(), SOURCE).build()


@cache
def device() -> OpenClBackend:
    """For rows that come from the host."""
    return OpenClBackend()


def softplus(rows: Any) -> Any:
    """log(1 + exp(x)) of every element."""
    if isinstance(rows, ClArray):
        return launch(rows)
    there = device().empty_device(rows.shape, rows)
    device().to_device(there, rows)
    return launch(there).get()


def launch(rows: ClArray) -> ClArray:
    """Enqueue the kernel on the current stream."""
    if rows.dtype != np.float32:
        raise TypeError(f"the rows are {rows.dtype}; give float32")
    result = rows.empty()
    if rows.size:
        kernel = cl.Kernel(program(), "softplus")
        queue = rows.current().queue
        kernel(queue, (rows.size,), None, result.buffer, result.first, rows.buffer, rows.first)
    return result
