"""How CUDA, its libraries and what stands directly on them say that memory ran out.

Invariant: a code is spelled as the library's own function that names a status spells it.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import CUPY, ERROR_NUMBERS, Family, spelled

__all__ = ["FAMILIES"]


FAMILIES = (
    Family(
        library="torch",
        kind=FailureKind.OOM,
        texts=("CUDA out of memory", "CUDA error: out of memory", "CUDA driver error: out of memory"),
        source="pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp, c10/cuda/driver_api.h",
    ),
    Family(
        library="torch",
        kind=FailureKind.OOM,
        classes=("torch.CudaError",),
        texts=("out of memory (2)",),
        source="pytorch/pytorch torch/cuda/__init__.py",
    ),
    Family(
        library="torch with cudaMallocAsync",
        kind=FailureKind.OOM,
        texts=("Allocation on device * would exceed allowed memory*",),
        source="pytorch/pytorch c10/cuda/CUDAMallocAsyncAllocator.cpp",
    ),
    Family(
        library="torch before 1.8",
        kind=FailureKind.OOM,
        texts=("cuda runtime error (2) : out of memory at *",),
        source="taey16/CBEGAN#1",
    ),
    Family(
        library="CUDA through others",
        kind=FailureKind.OOM,
        texts=(
            "cudaMalloc* failed: out of memory",
            "CUDA failed with error out of memory",
            "cuda failed with error 2 out of memory",
            "cuda execution failed with error 2",
            "Triton Error [CUDA]: out of memory",
        ),
        source="apache/mxnet#675, OpenNMT/CTranslate2#690, junjie18/CMT#15, open-mmlab/mmdetection3d#80, "
        "triton-lang/triton third_party/nvidia/backend/driver.c",
    ),
    Family(
        library="CUDA through the checks of DGL, MXNet, TVM, dlib",
        kind=FailureKind.OOM,
        classes=("RuntimeError", "dgl.DGLError", "tvm.TVMError", "tvm.InternalError"),
        texts=(
            "Check failed: *cudaSuccess*: out of memory",
            "Error while calling cuda* reason: out of memory",
        ),
        source="dmlc/MXNet.jl#70, PaddlePaddle/Paddle#8949, davisking/dlib#462",
    ),
    Family(
        library="faiss",
        kind=FailureKind.OOM,
        texts=(
            "Error in *StandardGpuResources: alloc fail *",
            "Error in *failed to cudaMalloc *out of memory*",
        ),
        source="facebookresearch/faiss#2105, #2020, #1031",
    ),
    Family(
        library="CUDA",
        kind=FailureKind.OOM,
        codes=("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY"),
        source="cupy/cupy cupy_backends/cuda/api/runtime.pyx, taichi-dev/taichi#765",
    ),
    Family(
        library="numba",
        kind=FailureKind.OOM,
        classes=("numba.CudaAPIError",),
        texts=("[2] Call to cuMemAlloc results in *",),
        source="numba/numba#7083",
    ),
    Family(
        library="libraries of CUDA",
        kind=FailureKind.OOM,
        codes=(
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
            "CUSOLVER_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES",
            "CUFFT_ALLOC_FAILED",
            "CURAND_STATUS_ALLOCATION_FAILED",
        ),
        source="pytorch/pytorch aten/src/ATen/cuda/Exceptions.h, cupy/cupy cupy_backends/cuda/libs, "
        "cupy/cupy#7680, the cuDNN documentation of cudnnStatus_t",
    ),
    Family(
        library="cuSPARSE through torch",
        kind=FailureKind.OOM,
        texts=("CUDA error: insufficient resources when calling *",),
        source="rusty1s/pytorch_sparse#314",
    ),
    Family(
        library="CuPy",
        kind=FailureKind.OOM,
        classes=CUPY,
        attribute="status",
        numbers=(2,),
        source=ERROR_NUMBERS,
    ),
    Family(
        library="torch",
        kind=FailureKind.OOM,
        classes=("torch.AcceleratorError",),
        attribute="error_code",
        numbers=(2,),
        source="pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    Family(
        library="MAGMA through torch",
        kind=FailureKind.OOM,
        texts=spelled(
            ("MAGMA error: ",), ("cannot allocate memory on GPU device", "cannot allocate memory on CPU host")
        ),
        source="pytorch/pytorch aten/src/ATen/native/cuda/linalg/BatchLinearAlgebra.cpp",
    ),
    Family(
        library="PyCUDA",
        kind=FailureKind.OOM,
        classes=("pycuda.MemoryError",),
        source="inducer/pycuda src/cpp/cuda.hpp, cryoem-uoft/cryosparc-issues#124",
    ),
)
"""All rows."""
