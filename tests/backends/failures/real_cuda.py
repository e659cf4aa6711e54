"""What CUDA and its libraries were seen to say; each with its source."""

from __future__ import annotations

from tests.backends.failures.real_text import DEAD, OOM, SIZE, SUSPECT, RealText

TEXTS = (
    RealText(
        SUSPECT,
        "RuntimeError",
        "cublas runtime error : resource allocation failed at "
        "/opt/conda/conda-bld/pytorch_1556653099582/work/aten/src/THC/THCGeneral.cpp:228",
        "pytorch/pytorch#24838",
    ),
    RealText(
        DEAD,
        "torch.AcceleratorError < RuntimeError",
        "CUDA error: an illegal memory access was encountered\n"
        "Search for `cudaErrorIllegalAddress' in "
        "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more "
        "information.\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.",
        "SystemPanic/vllm-windows#72",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "NVML_SUCCESS == r INTERNAL ASSERT FAILED at "
        '"/opt/builds/pytorch/c10/cuda/CUDACachingAllocator.cpp":830, please report a bug to '
        "PyTorch. ",
        "pytorch/pytorch#121899",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "
        '"../c10/cuda/CUDACachingAllocator.cpp":1123, please report a bug to PyTorch. ',
        "pytorch/pytorch#112950",
    ),
    RealText(
        OOM,
        "torch.cuda.CudaError < RuntimeError",
        "out of memory (2)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "an illegal memory access was encountered (700)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "device-side assert triggered (710)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "unspecified launch failure (719)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "misaligned address (716)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "an illegal instruction was encountered (715)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "uncorrectable ECC error encountered (214)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        DEAD,
        "torch.cuda.CudaError < RuntimeError",
        "the launch timed out and was terminated (702)",
        "pytorch/pytorch torch/cuda/__init__.py",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Check failed: e == cudaSuccess || e == cudaErrorCudartUnloading CUDA: out of memory",
        "dmlc/MXNet.jl#70",
    ),
    RealText(
        OOM,
        "dgl._ffi.base.DGLError < Exception",
        "[19:45:05] /opt/dgl/src/runtime/cuda/cuda_device_api.cc:97: Check failed: e == "
        "cudaSuccess || e == cudaErrorCudartUnloading: CUDA: out of memory\n"
        "Stack trace:\n  [bt] (0) /site-packages/dgl/libdgl.so(+0x28965c)",
        "dmlc/dgl src/runtime/cuda/cuda_common.h",
    ),
    RealText(
        OOM,
        "tvm.error.InternalError < RuntimeError",
        "Check failed: (e == cudaSuccess || e == cudaErrorCudartUnloading) is false: CUDA: out of memory",
        "apache/tvm src/runtime/cuda/cuda_common.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Error while calling cudaMalloc(&backward_data_workspace, "
        "backward_data_workspace_size_in_bytes) in file /dlib/dnn/cudnn_dlibapi.cpp:888. code: "
        "2, reason: out of memory",
        "davisking/dlib#462",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "cuFFT error: CUFFT_INVALID_SIZE",
        "pytorch/pytorch aten/src/ATen/native/cuda/CuFFTUtils.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuFFT error: CUFFT_EXEC_FAILED",
        "pytorch/pytorch aten/src/ATen/native/cuda/CuFFTUtils.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuFFT error: CUFFT_SETUP_FAILED",
        "pytorch/pytorch aten/src/ATen/native/cuda/CuFFTUtils.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Triton Error [CUDA]: invalid argument",
        "vllm-project/vllm tests/kernels of fused_q_kv_rmsnorm",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 "
        "GiB of which 1.23 GiB is free. Including non-PyTorch memory, this process has 6.55 "
        "GiB memory in use.",
        "pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 36.00 MiB (GPU 0; 7.93 GiB total capacity; "
        "130.35 MiB already allocated; 47.06 MiB free; 188.00 MiB reserved in total by "
        "PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb to "
        "avoid fragmentation.",
        "inha15/Camera_YOLOv5-HJ E2E_Camera/scripts/clean_cache.py",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA out of memory. Tried to allocate 17179869113.53 GiB (GPU 0; 10.92 GiB total "
        "capacity; 36.04 MiB already allocated; 9.58 GiB free; 29.96 MiB cached) (malloc at "
        "/pytorch/c10/cuda/CUDACachingAllocator.cpp:267)",
        "SeanNaren/warp-ctc#151",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
        "Currently allocated     : 22.43 GiB\n"
        "Requested               : 4.07 GiB\n"
        "Device limit            : 16.00 GiB\n"
        "Free (according to CUDA): 0 bytes",
        "pytorch/pytorch c10/cuda/CUDAMallocAsyncAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Allocation on device 0 would exceed allowed memory. (out of memory)",
        "pytorch/pytorch c10/cuda/CUDAMallocAsyncAllocator.cpp",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "Allocation on device ",
        "theroyallab/tabbyAPI#381",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: out of memory\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "taohan10200/IIM#28",
    ),
    RealText(
        OOM,
        "torch.AcceleratorError < RuntimeError",
        "CUDA error: out of memory",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        OOM,
        "torch.AcceleratorError < RuntimeError | error_code=2",
        "CUDA-Fehler 2",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA driver error: out of memory",
        "pytorch/pytorch c10/cuda/driver_api.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cuda runtime error (2) : out of memory at /pytorch/torch/lib/THC/generic/THCStorage.cu:66",
        "taey16/CBEGAN#1",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\n"
        "Exception raised from createCublasHandle at "
        "/opt/conda/conda-bld/pytorch_1595629403081/work/aten/src/ATen/cuda/CublasHandleP"
        "ool.cpp:8 (most recent call first):\n"
        "frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x4d (0x2ba39fce177d "
        "in /lib/libc10.so)",
        "DeepMotionAIResearch/DenseMatchingBenchmark#20",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "QwenLM/Qwen3-VL#151",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "the cuDNN documentation of cudnnStatus_t",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "the cuDNN documentation of cudnnStatus_t",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: insufficient resources when calling `cusparseSpGEMM_workEstimation( "
        "handle, opA, opB, &alpha, matA, matB, &beta, matC, computeType, "
        "CUSPARSE_SPGEMM_DEFAULT, spgemmDesc, &bufferSize1, dBuffer1)`",
        "rusty1s/pytorch_sparse#314",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "pytorch/pytorch#6511",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MAGMA error: cannot allocate memory on GPU device, info = -113, when calling magma_dgetrf_batched",
        "pytorch/pytorch aten/src/ATen/native/cuda/linalg/BatchLinearAlgebra.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MAGMA error: cannot allocate memory on CPU host, info = -112, when calling magma_dgetrf_batched",
        "pytorch/pytorch aten/src/ATen/native/cuda/linalg/BatchLinearAlgebra.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Triton Error [CUDA]: out of memory",
        "triton-lang/triton third_party/nvidia/backend/driver.c",
    ),
    RealText(
        OOM,
        "cupy.cuda.memory.OutOfMemoryError < MemoryError",
        "Out of memory allocating 1,024 bytes (allocated so far: 0 bytes).",
        "cupy/cupy cupy/cuda/memory.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorMemoryAllocation: out of memory",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError | status=2",
        "cudaErrorMemoryAllocation: Speicher erschöpft",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx, the enum cudaError_t",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.cublas.CUBLASError < RuntimeError",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "cupy/cupy cupy_backends/cuda/libs/cublas.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.cudnn.CuDNNError < RuntimeError",
        "cuDNN Error: CUDNN_STATUS_ALLOC_FAILED",
        "cupy/cupy cupy_backends/cuda/libs/cudnn.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.cusolver.CUSOLVERError < RuntimeError",
        "CUSOLVER_STATUS_ALLOC_FAILED",
        "cupy/cupy cupy_backends/cuda/libs/cusolver.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.cusparse.CuSparseError < RuntimeError",
        "CUSPARSE_STATUS_ALLOC_FAILED: resource allocation failed",
        "cupy/cupy cupy_backends/cuda/libs/cusparse.pyx",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.cusparse.CuSparseError < RuntimeError",
        "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES: insufficient resources",
        "cupy/cupy#7680 and #10033",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.libs.curand.CURANDError < RuntimeError",
        "CURAND_STATUS_ALLOCATION_FAILED",
        "cupy/cupy cupy_backends/cuda/libs/curand.pyx",
    ),
    RealText(
        OOM,
        "cupy.cuda.cufft.CuFFTError < RuntimeError",
        "CUFFT_ALLOC_FAILED",
        "cupy/cupy#1063",
    ),
    RealText(
        OOM,
        "numba.cuda.cudadrv.driver.CudaAPIError < Exception",
        "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY",
        "numba/numba#7083",
    ),
    RealText(
        OOM,
        "numba.cuda.cudadrv.driver.CudaAPIError < Exception",
        "[2] Call to cuMemAlloc results in UNKNOWN_CUDA_ERROR",
        "numba/numba numba/cuda/cudadrv/driver.py",
    ),
    RealText(
        OOM,
        "pycuda._driver.MemoryError < Exception",
        "cuMemAlloc failed: out of memory",
        "cryoem-uoft/cryosparc-issues#124",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[cuda_driver.h:operator()@66] CUDA Error CUDA_ERROR_OUT_OF_MEMORY: out of memory "
        "while calling malloc (cuMemAlloc_v2)",
        "taichi-dev/taichi#765",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA failed with error out of memory",
        "OpenNMT/CTranslate2#690",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const "
        "faiss::gpu::AllocRequest&) at /project/faiss/faiss/gpu/StandardGpuResources.cpp:452: "
        "Error: 'err == cudaSuccess' failed: StandardGpuResources: alloc fail type "
        "TemporaryMemoryBuffer dev 0 space Device stream 0x55fdc14ecbc0 size 1610612736 bytes "
        "(cudaMalloc error out of memory [2])",
        "qhjqhj00/MemoRAG#61",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const "
        "faiss::gpu::AllocRequest&) at /work/faiss/gpu/StandardGpuResources.cpp:443: Error: "
        "'err == cudaSuccess' failed: Failed to cudaMalloc 536870912 bytes on device 1 (error "
        "2 out of memory\n"
        "Outstanding allocations:",
        "facebookresearch/faiss#2020",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Error in void faiss::gpu::allocMemorySpaceV(faiss::gpu::MemorySpace, void**, size_t) "
        "at gpu/utils/MemorySpace.cpp:26: Error: 'err == cudaSuccess' failed: failed to "
        "cudaMalloc 47064032 bytes (error 2 out of memory)",
        "facebookresearch/faiss#1031",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "/io/include/tensorview/tensor.h 168\n"
        "cuda failed with error 2 out of memory. use CUDA_LAUNCH_BLOCKING=1 to get correct "
        "traceback.",
        "junjie18/CMT#15",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "mmdet3d/ops/spconv/src/indice_cuda.cu 124\ncuda execution failed with error 2",
        "open-mmlab/mmdetection3d#80",
    ),
    RealText(
        OOM,
        "mxnet.base.MXNetError < RuntimeError",
        "[11:18:15] src/storage/./pooled_storage_manager.h:157: cudaMalloc failed: out of "
        "memory\n"
        "Stack trace:\n  [bt] (0) /site-packages/mxnet/libmxnet.so(+0x49640b) [0x7fcd6d02340b]",
        "apache/mxnet#675",
    ),
    RealText(
        OOM,
        "mxnet.base.MXNetError < Exception",
        "[08:45:46] src/storage/./pooled_storage_manager.h:157: cudaMalloc retry failed: out of memory",
        "deepinsight/insightface#1240",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "cudaMallocAsync(&data, size, stream) failed: out of memory.",
        "ml-explore/mlx mlx/backend/cuda/utils.cpp",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc: out_of_memory: CUDA error at: "
        "/rmm/include/rmm/mr/device/cuda_memory_resource.hpp:70: cudaErrorMemoryAllocation out "
        "of memory",
        "rapidsai/rmm cpp/include/rmm/error.hpp",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc: CUDA error at: "
        "/rmm/include/rmm/mr/device/cuda_memory_resource.hpp:70: cudaErrorMemoryAllocation out "
        "of memory",
        "rapidsai/rmm#894",
    ),
    RealText(
        SUSPECT,
        "MemoryError",
        "std::bad_alloc: CUDA error at: /rmm/include/rmm/mr/device/device_memory_resource.hpp:60",
        "rapidsai/rmm#894",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "std::bad_alloc: CUDA error at: /rmm/include/rmm/mr/device/device_memory_resource.hpp:60",
        "rapidsai/rmm#894",
    ),
    RealText(
        DEAD,
        "MemoryError",
        "std::bad_alloc: CUDA error at: "
        "/rmm/include/rmm/mr/device/cuda_memory_resource.hpp:70: cudaErrorIllegalAddress an "
        "illegal memory access was encountered",
        "rapidsai/rmm#894",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "mlcommons/algorithmic-efficiency#185",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, "
        "opb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc)`",
        "open-mmlab/mmdetection#6549",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasCreate(handle)`",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "pytorch/pytorch#81620",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "ajabri/videowalk#26",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "pytorch/pytorch#17774",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a "
        "non-contiguous input.",
        "huggingface/accelerate src/accelerate/utils/memory.py",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "GET was unable to find an engine to execute this computation",
        "unit8co/darts#1919",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "FIND was unable to find an engine to execute this computation",
        "pytorch/pytorch aten/src/ATen/native/cudnn/Conv_v8.cpp",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "pytorch/pytorch aten/src/ATen/native/cudnn/Conv_v7.cpp",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph.",
        "patientx/ComfyUI-Zluda#397",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`",
        "deepmodeling/deepmd-kit#3836",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cusolver error: CUSOLVER_STATUS_NOT_INITIALIZED, when calling `cusolverDnCreate(handle)`",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Failed to create cuRAND handle",
        "awslabs/sockeye#897",
    ),
    RealText(
        SUSPECT,
        "cupy_backends.cuda.libs.curand.CURANDError < RuntimeError",
        "CURAND_STATUS_INITIALIZATION_FAILED",
        "cupy/cupy cupy_backends/cuda/libs/curand.pyx",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuFFT error: CUFFT_INTERNAL_ERROR",
        "pytorch/pytorch#119420 and #89556",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: invalid configuration argument\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "pytorch/pytorch#13276",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "cuda runtime error (9) : invalid configuration argument at "
        "/opt/conda/conda-bld/pytorch-nightly_1540802486426/work/aten/src/THC/THCTensorCo"
        "py.cu:205",
        "pytorch/pytorch#13276",
    ),
    RealText(
        SUSPECT,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorInvalidConfiguration: invalid configuration argument",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: too many resources requested for launch\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "zai-org/CogVideo#505",
    ),
    RealText(
        SUSPECT,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorLaunchOutOfResources: too many resources requested for launch",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        SUSPECT,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested for launch",
        "d-li14/involution#6",
    ),
    RealText(
        SUSPECT,
        "pycuda._driver.LaunchError < Exception",
        "cuLaunchKernel failed: too many resources requested for launch",
        "koszullab/GRAAL#7",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "run_func_( container_handle_, input_handles.data(), input_handles.size(), "
        "output_handles.data(), output_handles.size(), "
        "reinterpret_cast<AOTInductorStreamHandle>(stream_handle), proxy_executor_handle_) API "
        "call failed at /pytorch/torch/csrc/inductor/aoti_runner/model_container_runner.cpp, "
        "line 145",
        "deepmodeling/deepmd-kit#5418",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: an illegal memory access was encountered\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "rusty1s/pytorch_sparse#314",
    ),
    RealText(
        DEAD,
        "torch.AcceleratorError < RuntimeError",
        "CUDA error: an illegal memory access was encountered",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "torch.AcceleratorError < RuntimeError | error_code=719",
        "CUDA-Fehler 719",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: device-side assert triggered\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: unspecified launch failure (malloc at "
        "/opt/conda/conda-bld/pytorch_1556653114079/work/c10/cuda/CUDACachingAllocator.cpp:269)",
        "rusty1s/pytorch_sparse#23",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: misaligned address",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: an illegal instruction was encountered",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: uncorrectable ECC error encountered",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "CUDA error: the launch timed out and was terminated",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (719) : unspecified launch failure at "
        "/pytorch/aten/src/THC/THCCachingHostAllocator.cpp:278",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (59) : device-side assert triggered at "
        "/pytorch/aten/src/THC/generic/THCTensorCopy.cpp:20",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (77) : an illegal memory access was encountered at "
        "/pytorch/aten/src/THC/THCTensorCopy.cu:100",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (74) : misaligned address at /pytorch/aten/src/THC/THCTensorCopy.cu:100",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (73) : an illegal instruction was encountered at "
        "/pytorch/aten/src/THC/THCTensorCopy.cu:100",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (39) : uncorrectable ECC error encountered at "
        "/pytorch/aten/src/THC/THCTensorCopy.cu:100",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cuda runtime error (6) : the launch timed out and was terminated at "
        "/pytorch/aten/src/THC/THCTensorCopy.cu:100",
        "pytorch/pytorch#29795",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "cudaMallocManaged failed: an illegal memory access was encountered.",
        "ml-explore/mlx#2821",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "/io/build/core_cc/src/csrc/sparse/all/ops1d/Indices.cc 144\n"
        "cuda execution failed with error 700 an illegal memory access was encountered. use "
        "CUDA_LAUNCH_BLOCKING=1 to get correct traceback.",
        "traveller59/spconv#392",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorIllegalAddress: an illegal memory access was encountered",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorAssert: device-side assert triggered",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorLaunchFailure: unspecified launch failure",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorMisalignedAddress: misaligned address",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorIllegalInstruction: an illegal instruction was encountered",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "cudaErrorLaunchTimeout: the launch timed out and was terminated",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError | status=700",
        "ungültiger Zugriff",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx, the enum cudaError_t",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_ASSERT: device-side assert triggered",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_MISALIGNED_ADDRESS: misaligned address",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_ILLEGAL_INSTRUCTION: an illegal instruction was encountered",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.driver.CUDADriverError < RuntimeError",
        "CUDA_ERROR_LAUNCH_TIMEOUT: the launch timed out and was terminated",
        "cupy/cupy cupy_backends/cuda/api/driver.pyx",
    ),
    RealText(
        DEAD,
        "numba.cuda.cudadrv.driver.CudaAPIError < Exception",
        "[719] Call to cuMemAlloc results in CUDA_ERROR_LAUNCH_FAILED",
        "numba/numba#4833",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1333, "
        "unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.18.1\n"
        "ncclUnhandledCudaError: Call to CUDA function failed.\n"
        "Last error:\n"
        "Cuda failure 'out of memory'",
        "pytorch/pytorch torch/csrc/distributed/c10d/NCCLUtils.hpp",
    ),
    RealText(
        DEAD,
        "torch.distributed.DistBackendError < RuntimeError",
        "NCCL error, NCCL version 2.18.1\nLast error:\nCuda failure 'out of memory'",
        "pytorch/pytorch torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp",
    ),
)
