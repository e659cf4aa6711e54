"""What is said of a device or a process that is lost: every later call fails, so nothing is retried.

Invariant: a code is spelled as the library's own function that names a status spells it.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import CUPY, ERROR_NUMBERS, ONNXRUNTIME, Family, spelled

__all__ = ["FAMILIES"]

DEAD_TEXTS = (
    "an illegal memory access was encountered",
    "device-side assert triggered",
    "unspecified launch failure",
    "misaligned address",
    "an illegal instruction was encountered",
    "uncorrectable ECC error encountered",
    "the launch timed out and was terminated",
)
"""`cudaGetErrorString` of errors after which every later call of the process fails."""

DEAD_NUMBERS = (214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719)
"""214 ECC, 700 illegal address, 702 timeout, 709 context destroyed, 710 assert, 714 to 718 hardware and
addresses, 719 launch failure."""


FAMILIES = (
    Family(
        library="CUDA and HIP through torch",
        kind=FailureKind.DEAD,
        texts=(
            *spelled(("CUDA error: ", "HIP error: ", "MUSA error: "), DEAD_TEXTS),
            *(f"cuda runtime error (*) : {text} at *" for text in DEAD_TEXTS),
        ),
        source="pytorch/pytorch c10/cuda/CUDAException.cpp, pytorch/pytorch#29795",
    ),
    Family(
        library="CUDA through others",
        kind=FailureKind.DEAD,
        texts=(
            "cudaMalloc* failed: an illegal memory access was encountered",
            "cuda execution failed with error 700 *",
        ),
        source="ml-explore/mlx#2821, traveller59/spconv#392",
    ),
    Family(
        library="CUDA",
        kind=FailureKind.DEAD,
        codes=(
            "cudaErrorIllegalAddress",
            "cudaErrorAssert",
            "cudaErrorLaunchFailure",
            "cudaErrorMisalignedAddress",
            "cudaErrorIllegalInstruction",
            "cudaErrorECCUncorrectable",
            "cudaErrorLaunchTimeout",
            "CUDA_ERROR_ILLEGAL_ADDRESS",
            "CUDA_ERROR_ASSERT",
            "CUDA_ERROR_LAUNCH_FAILED",
            "CUDA_ERROR_MISALIGNED_ADDRESS",
            "CUDA_ERROR_ILLEGAL_INSTRUCTION",
            "CUDA_ERROR_ECC_UNCORRECTABLE",
            "CUDA_ERROR_LAUNCH_TIMEOUT",
        ),
        source="the enums of CUDA's documentation; jaxleyverse/jaxley#53, numba/numba#4833",
    ),
    Family(
        library="torch",
        kind=FailureKind.DEAD,
        classes=("torch.CudaError",),
        texts=tuple(f"{text} (*)" for text in DEAD_TEXTS),
        source="pytorch/pytorch torch/cuda/__init__.py",
    ),
    Family(
        library="CuPy",
        kind=FailureKind.DEAD,
        classes=CUPY,
        attribute="status",
        numbers=DEAD_NUMBERS,
        source=ERROR_NUMBERS,
    ),
    Family(
        library="torch",
        kind=FailureKind.DEAD,
        classes=("torch.AcceleratorError",),
        attribute="error_code",
        numbers=DEAD_NUMBERS,
        source="pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    # the other ranks may be inside a collective: no one rank may retry
    Family(
        library="NCCL",
        kind=FailureKind.DEAD,
        codes=("ncclUnhandledCudaError",),
        source="pytorch/pytorch torch/csrc/distributed/c10d/NCCLUtils.hpp",
    ),
    Family(
        library="NCCL through torch",
        kind=FailureKind.DEAD,
        classes=("torch.DistBackendError",),
        texts=("*out of memory*",),
        source="pytorch/pytorch torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp",
    ),
    Family(
        library="SYCL, Level Zero",
        kind=FailureKind.DEAD,
        codes=("UR_RESULT_ERROR_DEVICE_LOST", "ZE_RESULT_ERROR_DEVICE_LOST", "VK_ERROR_DEVICE_LOST"),
        source="pytorch/pytorch#190972, oneapi-src/level-zero include/ze_api.h, the Vulkan specification",
    ),
    Family(
        library="HIP",
        kind=FailureKind.DEAD,
        codes=("hipErrorIllegalAddress", "hipErrorLaunchFailure"),
        source="ROCm/HIP include/hip/hip_runtime_api.h",
    ),
    # 507011 model, 507014 and 507015 core, 507018 the device's processor, the others vector core
    Family(
        library="Ascend NPU: a core of the device failed",
        kind=FailureKind.DEAD,
        texts=(
            *(
                f"NPU function error: *, error code is {number}*"
                for number in (507011, 507014, 507015, 507018, 507034, 507035, 507048)
            ),
            "ACL stream synchronize failed, error code:507015*",
            "ACL stream synchronize failed, error code:507018*",
        ),
        source="vllm-project/vllm-ascend#7676, #2800 and #5661, Ascend/pytorch#66",
    ),
    Family(
        library="onnxruntime",
        kind=FailureKind.DEAD,
        classes=ONNXRUNTIME,
        texts=("*CUDA failure 700: *", "*CUDA failure 719: *"),
        source="microsoft/onnxruntime onnxruntime/core/providers/cuda/cuda_call.cc",
    ),
)
"""All rows."""
