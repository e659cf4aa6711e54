"""One row of the table: how a library says one thing, and what that means for retrying.

Invariant: a row is data and says where its texts were found, so that a reader can check it. Rejected: regular
expressions (a text of a library must be found again by searching for it); words anywhere in a message (then a
message that only speaks of memory is taken for a lack of it).
"""

from __future__ import annotations

from dataclasses import dataclass

from microbatch.extend.records import FailureKind

__all__ = ["CUPY", "ERROR_NUMBERS", "ONNXRUNTIME", "Family", "spelled"]

CUPY = ("cupy_backends.CUDARuntimeError", "cupy_backends.CUDADriverError")
ONNXRUNTIME = ("onnxruntime.Fail", "onnxruntime.RuntimeException", "onnxruntime.EPFail")
"""They derive from Exception."""
ERROR_NUMBERS = "the enum cudaError_t of CUDA's documentation; cupy/cupy cupy_backends/cuda/api/runtime.pyx"
"""Where the numbers were found that CuPy's and torch's errors hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Texts of one library with one meaning; a row without texts, codes and numbers holds for its classes."""

    library: str
    """Who prints it."""
    kind: FailureKind
    """What it means."""
    source: str
    """Where it was found: a repository and a path in it, a report (`owner/name#number`), or `seen` for a text
    that was provoked, with the version."""
    classes: tuple[str, ...] = ("RuntimeError",)
    """Classes that the library raises, one of which the error has: `torch.OutOfMemoryError` is the class of
    that name anywhere in the package torch, a name without a dot is a builtin."""
    texts: tuple[str, ...] = ()
    """How a message begins, any of them; `*` stands for anything. The last word ends its clause there, unless
    the text ends with `*`."""
    codes: tuple[str, ...] = ()
    """Names that only a library prints, any of them; they count anywhere outside of quotation marks."""
    attribute: str = ""
    """The attribute that holds the number of a status; empty where there is none."""
    numbers: tuple[int, ...] = ()
    """Numbers with this meaning, any of them."""


def spelled(beginnings: tuple[str, ...], endings: tuple[str, ...]) -> tuple[str, ...]:
    """Every beginning with every ending: runtimes that share their texts differ in the first words."""
    return tuple(beginning + ending for beginning in beginnings for ending in endings)
