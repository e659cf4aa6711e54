"""How other devices say that memory ran out: HIP, NPU, MLU, MUSA, HPU, SYCL, OpenCL, Vulkan, Metal, DirectML.

Invariant: only what a device's own library prints; what a framework prints on every device is elsewhere.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import Family, spelled

__all__ = ["FAMILIES"]

FAMILIES = (
    Family(
        library="torch on HIP, NPU, MLU, MUSA, XPU",
        kind=FailureKind.OOM,
        texts=(
            *spelled(("HIP", "NPU", "MLU", "MUSA", "XPU"), (" out of memory",)),
            *spelled(("HIP", "MUSA"), (" error: out of memory",)),
        ),
        source="Ascend/pytorch torch_npu/csrc/core/npu/NPUCachingAllocator.cpp, Cambricon/torch_mlu "
        "torch_mlu/csrc/framework/core/caching_allocator.cpp, MooreThreads/torch_musa "
        "torch_musa/csrc/core/Allocator.cpp, pytorch/pytorch c10/xpu/XPUCachingAllocator.cpp",
    ),
    Family(
        library="HIP, hipBLAS, rocBLAS, hipSPARSE, MIOpen",
        kind=FailureKind.OOM,
        codes=(
            "hipErrorOutOfMemory",
            "hipErrorMemoryAllocation",
            "HIP_ERROR_OutOfMemory",
            "HIPBLAS_STATUS_ALLOC_FAILED",
            "HIPSPARSE_STATUS_ALLOC_FAILED",
            "rocblas_status_memory_error",
            "miopenStatusAllocFailed",
        ),
        source="ROCm/TheRock#1708, ROCm/rocm-libraries#2801, keras-team/keras#13889, "
        "ROCm/rocBLAS library/include/internal/rocblas-types.h, ROCm/MIOpen include/miopen/miopen.h",
    ),
    Family(
        library="Cambricon MLU",
        kind=FailureKind.OOM,
        codes=("cnrtErrorNoMem", "CNNL_STATUS_ALLOC_FAILED"),
        source="PaddlePaddle/Paddle paddle/fluid/platform/device/mlu/enforce.h, "
        "the enums of cnrt.h and cnnl.h",
    ),
    Family(
        library="Ascend NPU: memory allocation error",
        kind=FailureKind.OOM,
        texts=("NPU function error: *, error code is 207001*",),
        source="vllm-project/vllm-ascend#3141",
    ),
    Family(
        library="Habana HPU",
        kind=FailureKind.OOM,
        texts=(
            "FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size*",
            "FATAL ERROR :: MODULE:SYNHELPER workspace Allocation of size *",
        ),
        source="huggingface/optimum-habana#1708, HabanaAI/Model-References#10",
    ),
    Family(
        library="SYCL, Level Zero, OpenCL, Vulkan",
        kind=FailureKind.OOM,
        codes=(
            "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
            "UR_RESULT_ERROR_OUT_OF_HOST_MEMORY",
            "PI_ERROR_MEM_OBJECT_ALLOCATION_FAILURE",
            "PI_ERROR_OUT_OF_HOST_MEMORY",
            "ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
            "ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY",
            "CL_MEM_OBJECT_ALLOCATION_FAILURE",
            "CL_OUT_OF_HOST_MEMORY",
            "VK_ERROR_OUT_OF_DEVICE_MEMORY",
            "VK_ERROR_OUT_OF_HOST_MEMORY",
        ),
        source="intel/intel-extension-for-pytorch#854, intel/llvm sycl/include/sycl/detail/pi.h, "
        "oneapi-src/level-zero include/ze_api.h, opencv/opencv_contrib#2114, the Vulkan specification",
    ),
    Family(
        library="PyOpenCL",
        kind=FailureKind.OOM,
        classes=("pyopencl.MemoryError",),
        source="inducer/pyopencl src/wrap_cl.hpp, silx-kit/silx#2510",
    ),
    Family(
        library="torch on Metal",
        kind=FailureKind.OOM,
        texts=("MPS backend out of memory",),
        source="pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm",
    ),
    Family(
        library="MLX",
        kind=FailureKind.OOM,
        texts=(
            "[METAL] Command buffer execution failed: Insufficient Memory*",
            "[metal::malloc] Unable to allocate*",
            "[malloc] Unable to allocate*",
        ),
        codes=("kIOGPUCommandBufferCallbackErrorOutOfMemory",),
        source="ml-explore/mlx#479, mlx/backend/metal/allocator.cpp",
    ),
    Family(
        library="DirectML",
        kind=FailureKind.OOM,
        texts=("Could not allocate tensor with * bytes. There is not enough GPU video memory available*",),
        source="microsoft/DirectML#579",
    ),
)
"""All rows."""
