"""What may be a lack of memory in disguise, or may not: such is retried a few times in a step, then raised.

Invariant: each row is caused by a lack of memory and by other things too (a driver, a version, a wrong call),
and its text does not tell which.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import Family

__all__ = ["FAMILIES"]


def _suspect(
    library: str,
    source: str,
    *,
    texts: tuple[str, ...] = (),
    codes: tuple[str, ...] = (),
    classes: tuple[str, ...] = ("RuntimeError",),
) -> Family:
    return Family(
        library=library, kind=FailureKind.SUSPECT, source=source, texts=texts, codes=codes, classes=classes
    )


FAMILIES = (
    _suspect(
        "cuBLAS, hipBLAS",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h, deepspeedai/DeepSpeed#294, ROCm/TheRock#1708",
        codes=(
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "CUBLAS_STATUS_EXECUTION_FAILED",
            "CUBLAS_STATUS_INTERNAL_ERROR",
            "HIPBLAS_STATUS_NOT_INITIALIZED",
            "HIPBLAS_STATUS_INTERNAL_ERROR",
        ),
    ),
    _suspect(
        "cuDNN",
        "pytorch/pytorch#17774, ajabri/videowalk#26",
        codes=(
            "CUDNN_STATUS_NOT_INITIALIZED",
            "CUDNN_STATUS_INTERNAL_ERROR",
            "CUDNN_STATUS_NOT_SUPPORTED",
            "CUDNN_STATUS_EXECUTION_FAILED",
        ),
    ),
    _suspect(
        "cuDNN through torch, which tries algorithms until one has room",
        "unit8co/darts#1919, QwenLM/Qwen3-VL#151, patientx/ComfyUI-Zluda#397, "
        "pytorch/pytorch aten/src/ATen/native/cudnn/Conv_v7.cpp",
        texts=(
            "GET was unable to find an engine to execute this computation",
            "FIND was unable to find an engine to execute this computation",
            "Unable to find a valid cuDNN algorithm to run convolution",
            "cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph",
        ),
    ),
    _suspect(
        "cuSOLVER, cuRAND, cuFFT",
        "deepmodeling/deepmd-kit#3836, pytorch/pytorch#119420 and #89556, "
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
        codes=(
            "CUSOLVER_STATUS_INTERNAL_ERROR",
            "CUSOLVER_STATUS_NOT_INITIALIZED",
            "CURAND_STATUS_INITIALIZATION_FAILED",
            "CUFFT_INTERNAL_ERROR",
            "CUFFT_EXEC_FAILED",
            "CUFFT_SETUP_FAILED",
        ),
        texts=("Failed to create cuRAND *",),
    ),
    _suspect(
        "a launch on CUDA or HIP with too many blocks, or too many registers for each",
        "pytorch/pytorch#13276, zai-org/CogVideo#505, d-li14/involution#6, "
        "vllm-project/vllm tests/kernels of fused_q_kv_rmsnorm",
        codes=(
            "cudaErrorInvalidConfiguration",
            "cudaErrorLaunchOutOfResources",
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
        ),
        texts=(
            "CUDA error: invalid configuration argument",
            "HIP error: invalid configuration argument",
            "CUDA error: too many resources requested for launch",
            "Triton Error [CUDA]: invalid argument",
            "cuda runtime error (9) : invalid configuration argument at *",
        ),
    ),
    _suspect(
        "PyCUDA",
        "koszullab/GRAAL#7",
        classes=("pycuda.LaunchError",),
        texts=("cuLaunchKernel failed: too many resources requested for launch",),
    ),
    _suspect(
        "models compiled ahead of time by torch, which print the reason but raise without it",
        "deepmodeling/deepmd-kit#5418",
        texts=("run_func_( *model_container_runner.cpp*",),
    ),
    _suspect(
        "RMM, where an allocation failed for another reason than memory",
        "rapidsai/rmm#894",
        texts=("std::bad_alloc: CUDA error*",),
        classes=("MemoryError", "RuntimeError"),
    ),
    _suspect(
        "torch, whose report of a failed allocation failed itself",
        "fal-ai/fal#478, pytorch/pytorch#121899 and #185240",
        texts=("NVML_SUCCESS == * INTERNAL ASSERT FAILED at *CUDACachingAllocator.cpp*",),
    ),
    _suspect(
        "cuBLAS through torch before 1.5",
        "pytorch/pytorch#24838",
        texts=("cublas runtime error : resource allocation failed at *",),
    ),
    _suspect(
        "JAX",
        "vincekurtz/hydrax#53, nrbennet/dl_binder_design#38, jax-ml/jax#13504, prs-eth/thera#10",
        texts=(
            "INTERNAL: *cuSolver internal error",
            "operation * failed: cuSolver internal error",
            "INTERNAL: Attempting to perform BLAS operation using StreamExecutor without BLAS support",
            "UNKNOWN: Failed to determine best cudnn convolution algorithm for*",
        ),
        classes=("RuntimeError", "jax.JaxRuntimeError", "jaxlib.XlaRuntimeError"),
    ),
    _suspect(
        "ROCm's runtime",
        "tinygrad/tinygrad#3608",
        codes=("HSA_STATUS_ERROR_OUT_OF_RESOURCES",),
    ),
    _suspect(
        "MIOpen",
        "ROCm/MIOpen#1994 and #1010",
        codes=("miopenStatusUnknownError", "miopenStatusInternalError"),
    ),
    _suspect(
        "SYCL, Level Zero, OpenCL: resources of any kind",
        "intel/torch-xpu-ops#2445, intel/ipex-llm#9467 and #10778, intel/intel-extension-for-tensorflow#20",
        codes=(
            "UR_RESULT_ERROR_OUT_OF_RESOURCES",
            "PI_ERROR_OUT_OF_RESOURCES",
            "CL_OUT_OF_RESOURCES",
        ),
        texts=(
            "Native API failed. Native API returns: -999 (Unknown PI error)*",
            "Allocation is out of device memory on current platform*",
        ),
    ),
    _suspect(
        "PyOpenCL",
        "beatreichenbach/realflare#58",
        classes=("pyopencl.MemoryError",),
        codes=("OUT_OF_RESOURCES",),
    ),
    _suspect(
        "oneDNN through others",
        "oneapi-src/oneDNN include/oneapi/dnnl/dnnl.hpp, SYSTRAN/faster-whisper#660",
        texts=("could not create a memory object", "could not execute a primitive"),
    ),
    _suspect(
        "OpenVINO",
        "immich-app/immich#13674",
        texts=("Exception from *[GPU] out of GPU resources*",),
    ),
    _suspect(
        "Metal, where one piece of work took too long",
        "james-see/ltx-video-mac#48",
        texts=("[METAL] Command buffer execution failed: Impacting Interactivity*",),
    ),
    _suspect(
        "MLX, where buffers are too many rather than too large",
        "ml-explore/mlx#1718, lmstudio-ai/mlx-engine#264",
        texts=("[metal::malloc] Resource limit *",),
    ),
    _suspect(
        "TensorFlow",
        "tensorflow/tensorflow#9105 and #33916",
        classes=("tensorflow.InternalError",),
        texts=("*Blas * launch failed*", "*Blas xGEMM launch failed*"),
    ),
    _suspect(
        "workers that the system may have killed for their memory",
        "joblib/joblib joblib/externals/loky/process_executor.py, dask/distributed distributed/scheduler.py",
        classes=("joblib.TerminatedWorkerError", "loky.TerminatedWorkerError", "distributed.KilledWorker"),
    ),
    _suspect(
        "workers that the system killed, through torch",
        "pytorch/pytorch torch/csrc/DataLoader.cpp, pytorch/pytorch#108861",
        texts=(
            "DataLoader worker (pid *) is killed by signal: Killed*",
            "DataLoader worker (pid *) is killed by signal: Bus error*",
        ),
    ),
)
"""All rows: of many libraries, what they share is the doubt."""
