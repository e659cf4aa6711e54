"""The table of failures: what torch, CuPy, RMM, NumPy, the system and others raise, and what it means.

Invariant: the first rule that fits decides. So the order is: dead devices; then texts that may or may not
mean a lack of memory, whatever the error's type says; then memory; then size. Texts are compared by whole
words without case and punctuation, and only where the type is one that a framework would raise.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from microbatch.extend.records import FailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at."""

    types: frozenset[str]
    """Names of the class and its bases, plain and with their top-level package."""
    text: str
    """Lower-case words of the message, with one space before, between and after them."""
    status: int | None = None
    """Number the runtime gave, where the exception has one."""
    errno: int | None = None
    """Number the system gave, for an OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row; it fits where all conditions that it has hold."""

    kind: FailureKind
    """What it means."""
    text: tuple[str, ...] = ()
    """Phrases that are all in the message."""
    types: tuple[str, ...] = ()
    """Type names, one of which the error has."""
    status: tuple[int, ...] = ()
    """Numbers of the runtime, one of which the error has."""
    errno: tuple[int, ...] = ()
    """Numbers of the system, one of which the error has."""

    def matches(self, facts: Facts) -> bool:
        """Whether the error with these facts is of this row."""
        return (
            all(f" {phrase} " in facts.text for phrase in self.text)
            and (not self.types or not facts.types.isdisjoint(self.types))
            and (not self.status or facts.status in self.status)
            and (not self.errno or facts.errno in self.errno)
        )


RAISED = ("RuntimeError", "MemoryError", "CudaAPIError")
"""Types of errors that frameworks raise and that only their text tells apart (numba raises CudaAPIError). A
ValueError that speaks of memory is the function's own error, and a retry would hide it."""


def _texts(kind: FailureKind, *phrases: str, types: tuple[str, ...] = RAISED) -> tuple[Rule, ...]:
    return tuple(Rule(kind=kind, text=(phrase,), types=types) for phrase in phrases)


_RUNTIMES = ("CUDARuntimeError", "CUDADriverError", "torch.AcceleratorError", "HIPRuntimeError")

DEAD = (
    *_texts(
        FailureKind.DEAD,
        "illegal memory access",
        "device side assert",
        "device side assertion",
        "unspecified launch failure",
        "misaligned address",
        "device lost",
        "illegal instruction was encountered",
        "uncorrectable ecc error",
        "cudaerrorillegaladdress",
        "cudaerrorassert",
        "cudaerrorlaunchfailure",
        "cudaerrormisalignedaddress",
        # the other ranks may be inside a collective: no one rank may retry
        "ncclunhandledcudaerror",
    ),
    # 214 ECC, 700 illegal address, 709 context destroyed, 710 assert, 714-718 hardware and address faults,
    # 719 launch
    Rule(kind=FailureKind.DEAD, types=_RUNTIMES, status=(214, 700, 709, 710, 714, 715, 716, 717, 718, 719)),
    Rule(kind=FailureKind.DEAD, types=("DistBackendError",), text=("out of memory",)),
)

DISGUISED = (
    *_texts(
        FailureKind.SUSPECT,
        "cublas status not initialized",
        "cudnn status not initialized",
        "cudnn status internal error",
        "cudnn status not supported",
        "cusolver status internal error",
        "cusolver status not initialized",
        "curand status initialization failed",
        "ur result error out of resources",
        "allocation is out of device memory on current platform",
        "invalid configuration argument",
        "cudaerrorinvalidconfiguration",
    ),
    Rule(kind=FailureKind.SUSPECT, text=("curand", "failed to create"), types=RAISED),
    Rule(kind=FailureKind.SUSPECT, text=("run func", "model container runner"), types=RAISED),
)

MEMORY = (
    Rule(kind=FailureKind.OOM, text=("std bad alloc out of memory",), types=RAISED),
    Rule(kind=FailureKind.SUSPECT, text=("std bad alloc",), types=RAISED),
    Rule(
        kind=FailureKind.OOM,
        types=("MemoryError", "torch.OutOfMemoryError", "cupy.OutOfMemoryError", "ResourceExhaustedError"),
    ),
    Rule(kind=FailureKind.OOM, errno=(errno.ENOMEM,)),
    Rule(kind=FailureKind.OOM, types=_RUNTIMES, status=(2,)),
    *_texts(
        FailureKind.OOM,
        "cuda out of memory",
        "hip out of memory",
        "xpu out of memory",
        "mps backend out of memory",
        "cuda error out of memory",
        "hip error out of memory",
        "cuda driver error out of memory",
        "cudaerrormemoryallocation",
        "would exceed allowed memory out of memory",
        "cublas status alloc failed",
        "cudnn status alloc failed",
        "cusolver status alloc failed",
        "cusparse status alloc failed",
        "cufft alloc failed",
        "curand status allocation failed",
        "ur result error out of device memory",
        "ur result error out of host memory",
        "module pt devmem allocation failed",
        "defaultcpuallocator can t allocate memory",
        "defaultcpuallocator not enough memory",
        "resource exhausted",
        "resourceexhaustederror",
    ),
)

SIZE = _texts(
    FailureKind.SIZE,
    "invalid buffer size",
    "array is too big",
    "maximum allowed dimension exceeded",
    "storage size calculation overflowed",
    "more than int max elements",
    "canuse32bitindexmath",
    types=(*RAISED, "ValueError"),  # NumPy's
)

RULES: tuple[Rule, ...] = (*DEAD, *DISGUISED, *MEMORY, *SIZE)
"""All rows, in the order they are asked."""
