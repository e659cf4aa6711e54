"""What devices other than CUDA were seen to say; each with its source."""

from __future__ import annotations

from tests.backends.failures.real_text import DEAD, OOM, SIZE, SUSPECT, RealText

TEXTS = (
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "NPU out of memory. Tried to allocate 72.00 MiB (NPU 0; 61.27 GiB total capacity; "
        "56.05 GiB already allocated; 56.05 GiB current active; 5.04 MiB free; 58.39 GiB "
        "reserved in total by PyTorch).If reserved memory is >> allocated memory try setting "
        "max_split_size_mb to avoid fragmentation.",
        "sgl-project/sglang#29838",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "HSA Error 4104: HSA_STATUS_ERROR_OUT_OF_RESOURCES: The runtime failed to allocate the "
        "necessary resources. This error may also occur when the core runtime library needs to "
        "spawn threads or create internal OS-specific events.",
        "tinygrad/tinygrad#3608",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "[metal::malloc] Resource limit (499000) exceeded.",
        "lmstudio-ai/mlx-engine#264",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Current platform can NOT allocate memory block with size larger than 4GB! Tried to "
        "allocate 7.62 GiB (GPU  0; 15.11 GiB total capacity; 334.79 MiB already allocated; "
        "474.00 MiB reserved in total by PyTorch)",
        "intel/intel-extension-for-pytorch#492",
    ),
    RealText(
        OOM,
        "paddle.base.libpaddle.EnforceNotMet < RuntimeError",
        "(External) MLU CNRT error(100100), cnrtErrorNoMem: out of memory.",
        "PaddlePaddle/Paddle paddle/fluid/platform/device/mlu/enforce.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "(External) MLU CNNL error(2), CNNL_STATUS_ALLOC_FAILED. ",
        "PaddlePaddle/Paddle paddle/fluid/platform/device/mlu/enforce.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "HIP out of memory. Tried to allocate 20.00 MiB (GPU 0; 23.98 GiB total capacity; "
        "23.62 GiB already allocated; 0 bytes free; 23.74 GiB reserved in total by PyTorch)",
        "huggingface/autotrain-advanced#737",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.98 "
        "GiB of which 1.02 GiB is free.",
        "huggingface/autotrain-advanced#737",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "HIP error: out of memory\n"
        "HIP kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing AMD_SERIALIZE_KERNEL=3",
        "huggingface/autotrain-advanced#737",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "ROCm/TheRock#1708",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: HIPSPARSE_STATUS_ALLOC_FAILED when calling `hipsparseCreate(handle)`",
        "ROCm/rocm-libraries#2801",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "CUDA error: rocblas_status_memory_error when calling `rocblas_create_handle(handle)`",
        "ROCm/rocBLAS library/include/internal/rocblas-types.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "hipErrorOutOfMemory: out of memory",
        "ROCm/HIP include/hip/hip_runtime_api.h",
    ),
    RealText(
        OOM,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "hipErrorMemoryAllocation: out of memory",
        "ROCm/rocm-libraries#2801",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.InternalError < Exception",
        "Failed to allocate 890.06M (933298432 bytes) from device: HIP_ERROR_OutOfMemory",
        "keras-team/keras#13889",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "miopenStatusAllocFailed",
        "ROCm/MIOpen include/miopen/miopen.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: HIPBLAS_STATUS_NOT_INITIALIZED when calling `hipblasCreate(handle)`",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "CUDA error: HIPBLAS_STATUS_INTERNAL_ERROR when calling `hipblasSgemm( handle, opa, "
        "opb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc)`",
        "pytorch/pytorch aten/src/ATen/cuda/Exceptions.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "miopenStatusUnknownError",
        "ROCm/MIOpen#1994",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "miopenStatusInternalError",
        "ROCm/MIOpen#1010",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "HIP error: invalid configuration argument",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: an illegal memory access was encountered\n"
        "HIP kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: device-side assert triggered",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: unspecified launch failure",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: misaligned address",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: an illegal instruction was encountered",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: uncorrectable ECC error encountered",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "HIP error: the launch timed out and was terminated",
        "pytorch/pytorch c10/cuda/CUDAException.cpp",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "hipErrorIllegalAddress: an illegal memory access was encountered",
        "ROCm/HIP include/hip/hip_runtime_api.h",
    ),
    RealText(
        DEAD,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError",
        "hipErrorLaunchFailure: unspecified launch failure",
        "ROCm/HIP include/hip/hip_runtime_api.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "NPU out of memory. Tried to allocate 5.03 GiB (NPU 3; 60.96 GiB total capacity; 49.47 "
        "GiB already allocated; 49.47 GiB current active; 1.32 GiB free; 57.55 GiB reserved in "
        "total by PyTorch) If reserved memory is >> allocated memory try setting "
        "max_split_size_mb to avoid fragmentation.",
        "xingchensong/TouchNet#100",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "NPU out of memory. Tried to allocate 72.00 MiB (NPU 0; 61.27 GiB total capacity; "
        "56.05 GiB already allocated; 56.05 GiB current active; 5.04 MiB free; 58.39 GiB "
        "reserved in total by PyTorch).",
        "sgl-project/sglang#29838",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "operator():build/CMakeFiles/torch_npu.dir/compiler_depend.ts:128 NPU function error: "
        "call aclnnMoeDistributeDispatchV2 failed, error code is 207001\n"
        "[ERROR] 2025-09-28-07:22:30 (PID:316198, Device:7, RankID:-1) ERR00100 PTA call acl "
        "api failed\n"
        "[Error]: Failed to apply for memory.\n        Check the remaining storage space in "
        "the hardware environment.\n"
        "EL0004: [PID: 316198] 2025-09-28-07:22:29.827.496 Failed to allocate memory.",
        "vllm-project/vllm-ascend#3141",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:361 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is 507011",
        "vllm-project/vllm-ascend#7676",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "operator():build/CMakeFiles/torch_npu.dir/compiler_depend.ts:25 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507035\n"
        "[ERROR] 2025-04-29-18:46:11 (PID:1066924, Device:1, RankID:-1) ERR00100 PTA call acl "
        "api failed\n"
        "[Error]: The vector core execution is abnormal.",
        "Ascend/pytorch#66",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "operator():build/CMakeFiles/torch_npu.dir/compiler_depend.ts:47 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507048",
        "vllm-project/vllm-ascend#2800",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:361 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is 507014",
        "Ascend/pytorch torch_npu/csrc/core/npu/NPUException.h, the list of return codes of AscendCL",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:361 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is 507015",
        "Ascend/pytorch torch_npu/csrc/core/npu/NPUException.h, the list of return codes of AscendCL",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:361 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is 507018",
        "Ascend/pytorch torch_npu/csrc/core/npu/NPUException.h, the list of return codes of AscendCL",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:361 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is 507034",
        "Ascend/pytorch torch_npu/csrc/core/npu/NPUException.h, the list of return codes of AscendCL",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "ACL stream synchronize failed, error code:507015",
        "vllm-project/vllm-ascend#5661",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "ACL stream synchronize failed, error code:507018",
        "Ascend/pytorch torch_npu/csrc/core/npu/NPUStream.cpp",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "MLU out of memory. Tried to allocate 2.00 GiB. MLU 0 has a total capacity of 47.43 "
        "GiB of which 1.02 GiB is free.",
        "Cambricon/torch_mlu torch_mlu/csrc/framework/core/caching_allocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MLU out of memory. Tried to allocate 2.00 GiB (MLU 0; 47.43 GiB total capacity; 45.87 "
        "GiB already allocated; 1.02 GiB free)",
        "Cambricon/torch_mlu torch_mlu/csrc/framework/core/caching_allocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MUSA out of memory. Tried to allocate 28.00 GiB (GPU 0; 79.92 GiB total capacity; "
        "13.18 GiB already allocated; 9.25 GiB free)",
        "MooreThreads/torch_musa torch_musa/csrc/core/Allocator.cpp",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "MUSA out of memory. Tried to allocate more than 1EB memory.",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSACachingAllocator.cpp",
    ),
    RealText(
        OOM,
        "MemoryError",
        "MUSA out of memory. Tried to allocate 28.00 GiB.\n"
        "GPU 0 has a total capacity of 79.92 GiB of which 9.25 GiB is free.",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSACachingAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MUSA error: out of memory",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: an illegal memory access was encountered",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: device-side assert triggered",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: unspecified launch failure",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: misaligned address",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: an illegal instruction was encountered",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: uncorrectable ECC error encountered",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "MUSA error: the launch timed out and was terminated",
        "MooreThreads/torch_musa torch_musa/csrc/core/MUSAException.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[Rank:0] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::56836702208 (54203.7)MB",
        "huggingface/optimum-habana#1708",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "FATAL ERROR :: MODULE:SYNHELPER workspace Allocation of size ::14493510400 failed!",
        "HabanaAI/Model-References#10",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "XPU out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total capacity of 15.11 "
        "GiB. Of the allocated memory 0 bytes is allocated by PyTorch, and 0 bytes is reserved "
        "by PyTorch but unallocated. Please use `empty_cache` to release all unoccupied cached "
        "memory.",
        "intel/intel-extension-for-pytorch#846",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "XPU out of memory. Tried to allocate 1.00 GiB (GPU 0; 15.56 GiB total capacity; "
        "990.00 MiB already allocated; 990.00 MiB reserved in total by PyTorch)",
        "intel/intel-extension-for-pytorch#629",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "XPU out of memory, please use `empty_cache` to release all unoccupied cached memory.",
        "intel/intel-xpu-backend-for-triton#1997",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "intel/intel-extension-for-pytorch#854",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "level_zero backend failed with error: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)",
        "oneapi-src/unified-runtime include/ur_api.h",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "intel/torch-xpu-ops#5061",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "UR backend failed. UR backend returns:40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "intel/torch-xpu-ops#2445",
    ),
    RealText(
        SUSPECT,
        "torch.OutOfMemoryError < RuntimeError",
        "UR error 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "intel/torch-xpu-ops#2445",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES) -5 "
        "(PI_ERROR_OUT_OF_RESOURCES)",
        "intel/ipex-llm#9467",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Native API failed. Native API returns: -5 (CL_OUT_OF_RESOURCES) -5 (CL_OUT_OF_RESOURCES)",
        "intel/intel-extension-for-tensorflow#20",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Native API failed. Native API returns: -999 (Unknown PI error) -999 (Unknown PI error)",
        "intel/ipex-llm#10778",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Allocation is out of device memory on current platform.",
        "intel/ipex-llm#10575",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Native API failed. Native API returns: -4 (PI_ERROR_MEM_OBJECT_ALLOCATION_FAILURE) -4 "
        "(PI_ERROR_MEM_OBJECT_ALLOCATION_FAILURE)",
        "intel/llvm sycl/include/sycl/detail/pi.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Native API failed. Native API returns: -6 (PI_ERROR_OUT_OF_HOST_MEMORY) -6 "
        "(PI_ERROR_OUT_OF_HOST_MEMORY)",
        "intel/llvm sycl/include/sycl/detail/pi.h",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
        "pytorch/pytorch#190972",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "level_zero backend failed with error: 27 (UR_RESULT_ERROR_INVALID_BUFFER_SIZE)",
        "oneapi-src/unified-runtime include/ur_api.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Triton Error [ZE]: ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
        "oneapi-src/level-zero include/ze_api.h",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Triton Error [ZE]: ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY",
        "oneapi-src/level-zero include/ze_api.h",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "Triton Error [ZE]: ZE_RESULT_ERROR_DEVICE_LOST",
        "oneapi-src/level-zero include/ze_api.h",
    ),
    RealText(
        OOM,
        "pyopencl._cl.MemoryError < Exception",
        "clEnqueueNDRangeKernel failed: MEM_OBJECT_ALLOCATION_FAILURE",
        "silx-kit/silx#2510",
    ),
    RealText(
        SUSPECT,
        "pyopencl._cl.MemoryError < Exception",
        "clEnqueueReadImage failed: OUT_OF_RESOURCES",
        "beatreichenbach/realflare#58",
    ),
    RealText(
        SIZE,
        "pyopencl._cl.LogicError < Exception",
        "create_buffer failed: INVALID_BUFFER_SIZE",
        "seen, 2026.1.4 with pocl",
    ),
    RealText(
        OOM,
        "cv2.error < Exception",
        "OpenCV(4.2.0) /io/opencv/modules/core/src/ocl.cpp:3590: error: (-220:Unknown error "
        "code -220) OpenCL error CL_MEM_OBJECT_ALLOCATION_FAILURE (-4) during call: "
        "clEnqueueNDRangeKernel in function 'run'",
        "opencv/opencv_contrib#2114",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Native API failed. Native API returns: -6 (CL_OUT_OF_HOST_MEMORY)",
        "the OpenCL specification",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Native API failed. Native API returns: -61 (CL_INVALID_BUFFER_SIZE)",
        "the OpenCL specification",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Vulkan call failed: VK_ERROR_OUT_OF_DEVICE_MEMORY",
        "the Vulkan specification, VkResult",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Vulkan call failed: VK_ERROR_OUT_OF_HOST_MEMORY",
        "the Vulkan specification, VkResult",
    ),
    RealText(
        DEAD,
        "RuntimeError",
        "Vulkan call failed: VK_ERROR_DEVICE_LOST",
        "the Vulkan specification, VkResult",
    ),
    RealText(
        OOM,
        "wgpu.backends.wgpu_native._api.GPUOutOfMemoryError < MemoryError",
        "Not enough memory left.",
        "pygfx/wgpu-py wgpu/_classes.py",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "MPS backend out of memory (MPS allocated: 17.36 GB, other allocations: 613.56 MB, max "
        "allowed: 18.13 GB). Tried to allocate 192.00 MB on private pool. Use "
        "PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for memory allocations "
        "(may cause system failure).",
        "pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Invalid buffer size: 19.45 GB",
        "pytorch/pytorch#141909",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Invalid buffer size: 24.00 GiB",
        "pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Invalid buffer size: 960.00 MB",
        "pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Invalid buffer size: 960.00 MiB",
        "pytorch/pytorch aten/src/ATen/mps/MPSAllocator.mm",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "MPSGaph does not support tensor dims larger than INT_MAX",
        "xb1n0ry/ComfyUI-KleinRefGrid#2, pytorch/pytorch#158824",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Output size of the matrix multiplication is larger than currently supported by the "
        "MPS backend: 72250,72250, needs to be less than 2**32 elements",
        "pytorch/pytorch#141909",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[METAL] Command buffer execution failed: Insufficient Memory "
        "(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "ml-explore/mlx#479",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[metal::malloc] Unable to allocate 18874368000 bytes.",
        "ml-explore/mlx mlx/backend/metal/allocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[malloc] Unable to allocate 274877906944 bytes.",
        "ml-explore/mlx mlx/allocator.cpp",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "[metal::malloc] Attempting to allocate 48736917632 bytes which is greater than the "
        "maximum allowed buffer size of 30150672384 bytes.",
        "lmstudio-ai/lmstudio-bug-tracker#2240",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "[METAL] Command buffer execution failed: Impacting Interactivity "
        "(0000000e:kIOGPUCommandBufferCallbackErrorImpactingInteractivity)",
        "james-see/ltx-video-mac#48",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Could not allocate tensor with 234881024 bytes. There is not enough GPU video memory available!",
        "microsoft/DirectML#579",
    ),
)
