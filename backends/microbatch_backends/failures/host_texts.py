"""How the host says that memory ran out: Python, the system, NumPy, Arrow, and torch on the CPU.

Invariant: rows of a class alone come last, so that what the text tells more exactly goes first.
"""

from __future__ import annotations

import errno

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import Family, spelled

__all__ = ["FAMILIES"]

FAMILIES = (
    Family(
        library="torch on the CPU",
        kind=FailureKind.OOM,
        texts=spelled(
            ("[enforce fail at *] *DefaultCPUAllocator: ", "DefaultCPUAllocator: "),
            ("can't allocate memory*", "not enough memory*"),
        ),
        source="seen, 2.13.0; pytorch/pytorch c10/core/impl/alloc_cpu.cpp",
    ),
    Family(
        library="torch, files mapped into memory and memory shared by processes",
        kind=FailureKind.OOM,
        texts=(
            "unable to mmap * bytes from file *: Cannot allocate memory (12)",
            "unable to mmap memory: you tried to mmap *",
            "$ Torch: unable to mmap memory: you tried to mmap *",
            "unable to allocate shared memory(shm) for file *: No space left on device (28)",
            "unable to allocate shared memory(shm) for file *: Cannot allocate memory (12)",
        ),
        source="seen, 2.13.0; pytorch/pytorch aten/src/ATen/MapAllocator.cpp, pytorch/pytorch#87861",
    ),
    Family(
        library="C++ and RMM",
        kind=FailureKind.OOM,
        texts=("std::bad_alloc", "std::bad_alloc: out_of_memory*", "bad allocation"),
        source="ZPdesu/Barbershop#48, mapnik/mapnik#3203, rapidsai/rmm cpp/include/rmm/error.hpp",
    ),
    Family(
        library="the system",
        kind=FailureKind.OOM,
        classes=("OSError",),
        attribute="errno",
        numbers=(errno.ENOMEM,),
        source="seen, mmap of Python 3.11 and h5py 3.16",
    ),
    # 8 not enough memory, 14 not enough storage, 1455 too small a paging file; their texts are translated
    Family(
        library="Windows",
        kind=FailureKind.OOM,
        classes=("OSError",),
        attribute="winerror",
        numbers=(8, 14, 1455),
        source="pytorch/pytorch#59904, the list of system error codes of Windows",
    ),
    Family(
        library="Python, and whoever derives from MemoryError",
        kind=FailureKind.OOM,
        classes=("MemoryError",),
        source="seen, Python 3.11, NumPy 2.4.6, pyarrow 26.0.1, Paddle 3.3.1",
    ),
    Family(
        library="classes of MemoryError, where only their name is left in a text",
        kind=FailureKind.OOM,
        classes=("numpy._ArrayMemoryError", "pyarrow.ArrowMemoryError", "wgpu.GPUOutOfMemoryError"),
        source="seen, NumPy 2.4.6, pyarrow 26.0.1, wgpu 0.32.0",
    ),
)
"""All rows."""
