"""What is said of a part that is too large for an index, a launch or a buffer: smaller parts fit.

Invariant: no row means that memory ran out, so nothing is given back before the part is tried in halves.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import ONNXRUNTIME, Family, spelled

__all__ = ["FAMILIES"]

_SIZES_IN_TEXT = (" GB", " GiB", " MB", " MiB")
"""What torch's `format_size` ends with. A buffer that some other library calls invalid has no such size."""

FAMILIES = (
    Family(
        library="cuFFT",
        kind=FailureKind.SIZE,
        codes=("CUFFT_INVALID_SIZE",),
        source="pytorch/pytorch aten/src/ATen/native/cuda/CuFFTUtils.h",
    ),
    Family(
        library="torch on Metal",
        kind=FailureKind.SIZE,
        texts=(
            *spelled(("Invalid buffer size: *",), _SIZES_IN_TEXT),
            "Output size of the matrix multiplication is larger than currently supported by the MPS backend*",
        ),
        source="pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm, pytorch/pytorch#141909",
    ),
    Family(
        library="MLX",
        kind=FailureKind.SIZE,
        texts=("[metal::malloc] Attempting to allocate * greater than the maximum allowed buffer size*",),
        source="ml-explore/mlx#3327",
    ),
    Family(
        library="torch on Intel devices with a limit for one block",
        kind=FailureKind.SIZE,
        texts=("Current platform can NOT allocate memory block with size larger than 4GB! *",),
        source="intel/intel-extension-for-pytorch#492",
    ),
    Family(
        library="OpenCL, SYCL",
        kind=FailureKind.SIZE,
        codes=("CL_INVALID_BUFFER_SIZE", "UR_RESULT_ERROR_INVALID_BUFFER_SIZE"),
        source="the OpenCL specification, oneapi-src/unified-runtime include/ur_api.h",
    ),
    Family(
        library="PyOpenCL",
        kind=FailureKind.SIZE,
        classes=("pyopencl.LogicError",),
        codes=("INVALID_BUFFER_SIZE",),
        source="seen, 2026.1.4 with pocl",
    ),
    Family(
        library="onnxruntime",
        kind=FailureKind.SIZE,
        classes=ONNXRUNTIME,
        texts=("*SafeIntOnOverflow() Integer overflow*",),
        source="seen, 1.32.0",
    ),
    Family(
        library="OpenVINO",
        kind=FailureKind.SIZE,
        texts=(
            *spelled(
                ("Exception from ", "Check "), ("*[GPU] Exceeded max size of memory object allocation*",)
            ),
            "Check *Cannot allocate memory for type: * and shape: *",
        ),
        source="openvinotoolkit/openvino.genai#2406; seen, 2026.4.1",
    ),
    Family(
        library="Triton, where a block needs more than a core has",
        kind=FailureKind.SIZE,
        classes=("triton.OutOfResources",),
        source="triton-lang/triton python/triton/runtime/errors.py",
    ),
    Family(
        library="Triton through torch",
        kind=FailureKind.SIZE,
        texts=("out of resource: *", "No valid triton configs. *out of resource*"),
        source="pytorch/pytorch torch/_inductor/runtime/triton_heuristics.py",
    ),
    Family(
        library="NumPy",
        kind=FailureKind.SIZE,
        classes=("ValueError",),
        texts=(
            "array is too big; *",
            "Maximum allowed dimension exceeded",
            "iterator is too large",
        ),
        source="seen, 2.4.6",
    ),
    Family(
        library="SciPy, whose indices are of 32 bits",
        kind=FailureKind.SIZE,
        texts=("nnz of the result is too large",),
        source="scipy/scipy#12495",
    ),
    Family(
        library="SciPy",
        kind=FailureKind.SIZE,
        classes=("ValueError",),
        texts=("Indexing a matrix *integer overflow in LAPACK*",),
        source="scipy/scipy scipy/linalg/_decomp_svd.py",
    ),
    Family(
        library="torch",
        kind=FailureKind.SIZE,
        texts=(
            "Storage size calculation overflowed with sizes=*",
            "numel: integer multiplication overflow",
            "input tensor must fit into 32-bit index math",
            "numel needs to be smaller than int32_t max; *",
            "Expected *std::numeric_limits<int32_t>::max() to be true, but got false*",
            "quantile() input tensor is too large",
            "magma: The value of * is too large to fit into a magma_int_t *",
        ),
        codes=("INT_MAX", "canUse32BitIndexMath"),
        source="seen, 2.13.0; pytorch/pytorch#144855, #158824 and #129191, kreshuklab/panseg#358, "
        "aten/src/ATen/native/cuda/ReflectionPad.cu, aten/src/ATen/native/cuda/linalg/MagmaUtils.h",
    ),
    Family(
        library="Arrow",
        kind=FailureKind.SIZE,
        classes=("pyarrow.ArrowInvalid",),
        texts=("offset overflow while concatenating arrays*",),
        source="seen, 26.0.1",
    ),
    Family(
        library="Arrow",
        kind=FailureKind.SIZE,
        classes=("pyarrow.ArrowCapacityError",),
        source="apache/arrow python/pyarrow/error.pxi",
    ),
    Family(
        library="pickle below protocol 4",
        kind=FailureKind.SIZE,
        classes=("OverflowError",),
        texts=("serializing a bytes object larger than 4 GiB requires pickle protocol 4 or higher",),
        source="seen, Python 3.11",
    ),
)
"""All rows."""
