"""What frameworks were seen to say, and what their wrappers make of it; each with its source."""

from __future__ import annotations

from tests.backends.failures.real_text import DEAD, OOM, SIZE, SUSPECT, RealText

TEXTS = (
    RealText(
        OOM,
        "RuntimeError",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; ",
        "microsoft/CNTK#1688",
    ),
    RealText(
        OOM,
        "mxnet.base.MXNetError < RuntimeError",
        "[16:26:09] src/operator/nn/./cudnn/cudnn_convolution-inl.h:713: Check failed: e == "
        "CUDNN_STATUS_SUCCESS (2 vs. 0) cuDNN: CUDNN_STATUS_ALLOC_FAILED",
        "ElegantGod/SSHA#5",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException < Exception",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: bad allocation",
        "microsoft/onnxruntime#4325",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Load model from GPT_SoVITS/text/G2PWModel\\g2pW.onnx "
        "failed:bad allocation",
        "RVC-Boss/GPT-SoVITS#2105",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Load model from "
        "/content/roop-unleashed/models/inswapper_128.onnx failed:std::bad_alloc",
        "C0untFloyd/roop-unleashed#215",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : bad allocation",
        "ZFTurbo/MVSEP-MDX23-music-separation-model#34",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running "
        "FusedMatMul node. Name:'MatMul_With_Transpose_token_14_FusedMatMulAndScale' Status "
        "Message: bad allocation",
        "microsoft/onnxruntime#16305",
    ),
    RealText(
        SUSPECT,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: cuSolver internal error",
        "apirrone/Open_Duck_Playground#15",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "jaxlib/cusolver.cc:51: operation cusolverDnCreate(&handle) failed: cuSolver internal error",
        "nrbennet/dl_binder_design#38",
    ),
    RealText(
        SUSPECT,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: jaxlib/gpu/solver_handle_pool.cc:37: operation gpusolverDnCreate(&handle) "
        "failed: cuSolver internal error",
        "vincekurtz/hydrax#53",
    ),
    RealText(
        SUSPECT,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: Attempting to perform BLAS operation using StreamExecutor without BLAS support",
        "jax-ml/jax#13504",
    ),
    RealText(
        SUSPECT,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "UNKNOWN: Failed to determine best cudnn convolution algorithm for:\n"
        "%cudnn-conv-bias-activation.641 = (f32[1,64,1200,1200]{3,2,1,0}, u8[0]{0}) "
        "custom-call(f32[1,1024,1200,1200]{3,2,1,0} %concatenate.372, "
        "f32[64,1024,1,1]{3,2,1,0} %transpose.467, f32[64]{0} %Arg_4.5), window={size=1x1}, "
        "dim_labels=bf01_oi01->bf01",
        "prs-eth/thera#10",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Error in backward pass execution: Non-zero status code returned while running "
        "BiasGeluGrad_dX node. Name:'BiasGelu_token_112_Grad/BiasGeluGrad_dX_0' Status "
        "Message: CUDA error cudaErrorInvalidConfiguration:invalid configuration argument",
        "pytorch/ort#116",
    ),
    RealText(
        OOM,
        "cv2.error < Exception | code=-4",
        "(-4:Insufficient memory) in function 'OutOfMemoryError'",
        "seen, 5.0.0, with another function for its text",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
        "NVIDIA/TensorRT#4258",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[executionContext.cpp::initializeExecutionContext::644] Error Code 2: OutOfMemory "
        "(Requested size was 149635638784 bytes.)",
        "pytorch/TensorRT#4227",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[virtualMemoryBuffer.cpp::resizePhysical::65] Error Code 2: OutOfMemory (no further information)",
        "pytorch/TensorRT#603",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Requested amount of GPU memory (8589934592 bytes) could not be allocated. There may "
        "not be enough free memory for allocation to succeed.",
        "pytorch/TensorRT#603",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Encountered an error in forwardAsync function: [TensorRT-LLM][ERROR] CUDA runtime "
        "error in ::cudaMallocAsync(ptr, n, mMemPool->getPool(), mCudaStream->get()): out of "
        "memory "
        "(/home/jenkins/agent/workspace/LLM/cpp/tensorrt_llm/runtime/tllmBuffers.h:125)\n"
        "1       0x762b1a2a241c void tensorrt_llm::common::check<cudaError>(cudaError, char "
        "const*, char const*, int) + 92",
        "NVIDIA/TensorRT-LLM#3636",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n, "
        "mMemPool->getPool(), mCudaStream->get()): out of memory "
        "(/home/jenkins/agent/workspace/LLM/cpp/tensorrt_llm/runtime/tllmBuffers.h:125)",
        "NVIDIA/TensorRT-LLM#3636",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "INTERNAL: Out of memory",
        "jax-ml/jax#13428",
    ),
    RealText(
        OOM,
        "ray.exceptions.ObjectStoreFullError < Exception",
        "Failed to put object ffffffffffffffff in object store because it is full. Object size "
        "is 400000148 bytes.",
        "ray-project/ray python/ray/exceptions.py",
    ),
    RealText(
        SIZE,
        "torch._inductor.exc.InductorError < RuntimeError",
        "RuntimeError: No valid triton configs. OutOfMemoryError: out of resource: "
        "triton_tem_fused_0 Required: 147456 Hardware limit:101376 Reducing block sizes or "
        "`num_stages` may help.",
        "huggingface/transformers tests/test_modeling_common.py",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing "
        "block sizes or `num_stages` may help.",
        "triton-lang/triton#8182, where another class carries it",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "{{function_node __wrapped__Fill_device_/job:localhost/replica:0/task:0/device:CPU:0}} "
        "OOM when allocating tensor with shape[1048576,1048576] and type float on "
        "/job:localhost/replica:0/task:0/device:CPU:0 by allocator mklcpu [Op:Fill] name: ",
        "seen, 2.21.0",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "{{function_node __inference_<lambda>_14}} OOM when allocating tensor with "
        "shape[1048576,1048576] and type float on /job:localhost/replica:0/task:0/device:CPU:0 "
        "by allocator mklcpu\n\t [[{{node MatMul}}]]\n"
        "Hint: If you want to see a list of allocated tensors when OOM happens, add "
        "report_tensor_allocations_upon_oom to RunOptions for current allocation info. This "
        "isn't available when running in Eager mode.\n [Op:__inference_<lambda>_14]",
        "seen, 2.21.0",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "2 root error(s) found.\n  (0) Resource exhausted: OOM when allocating tensor with "
        "shape[1,64,150,150] and type float on /job:localhost/replica:0/task:0/device:DML:0 by "
        "allocator DmlAllocator",
        "microsoft/tensorflow-directml#294",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "{{function_node "
        "__wrapped__EagerPyFunc_Tin_0_Tout_1_device_/job:localhost/replica:0/task:0/devic"
        "e:CPU:0}} MemoryError: Unable to allocate 8.00 PiB for an array with shape "
        "(1125899906842624,) and data type float64\n"
        'Traceback (most recent call last):\n\n  File "tensorflow/python/ops/script_ops.py", '
        "line 267, in __call__\n    return func(device, token, args)\n\n"
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 PiB for an array "
        "with shape (1125899906842624,) and data type float64\n\n [Op:EagerPyFunc] name: ",
        "seen, 2.21.0",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "failed to allocate memory [Op:AddV2]",
        "faustomorales/keras-ocr#195",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "Compilation failure: Ran out of memory in memory space hbm. Used 8.38G of 8.00G hbm. "
        "Exceeded hbm capacity by 385.25M.",
        "tensorflow/tpu#385",
    ),
    RealText(
        OOM,
        "tensorflow.python.framework.errors_impl.InternalError < Exception",
        "Failed copying input tensor from /job:localhost/replica:0/task:0/device:CPU:0 to "
        "/job:localhost/replica:0/task:0/device:GPU:0 in order to run _EagerConst: Dst tensor "
        "is not initialized.",
        "tensorflow/tensorflow#7025",
    ),
    RealText(
        SUSPECT,
        "tensorflow.python.framework.errors_impl.InternalError < Exception",
        "Blas SGEMM launch failed : a.shape=(10000, 784), b.shape=(784, 500), m=10000, n=500, k=784",
        "tensorflow/tensorflow#9105",
    ),
    RealText(
        SUSPECT,
        "tensorflow.python.framework.errors_impl.InternalError < Exception",
        "Blas xGEMM launch failed : a.shape=[1,10000,784], b.shape=[1,784,500], m=10000, "
        "n=500, k=784 [Op:MatMul]",
        "tensorflow/tensorflow#33916",
    ),
    RealText(
        OOM,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: Out of memory allocating 274877906944 bytes.",
        "seen, 0.10.2",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 bytes.\n"
        "BufferAssignment OOM Debugging.\n"
        "BufferAssignment stats:\n             parameter allocation:  372.76MiB\n              "
        "constant allocation:    48.5KiB",
        "patrickbryant1/AFProfile#8",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
        "space hbm. Used 21.95G of 15.48G hbm.\n Exceeded hbm capacity by 6.47G.\n\n"
        "Total hbm usage >= 22.47G:\n    reserved        530.00M",
        "LargeWorldModel/LWM#60",
    ),
    RealText(
        OOM,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: XLA:TPU compile permanent error. Ran "
        "out of memory in memory space hbm. Used 215.17G of 31.25G hbm. Exceeded hbm capacity "
        "by 183.92G.",
        "EnzymeAD/Enzyme-JAX#2422",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0",
        "google-deepmind/jax_privacy#10",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Resource exhausted: Failed to allocate request for 32.00MiB (33554432B) on device ordinal 0",
        "kingoflolz/mesh-transformer-jax#66",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Resource exhausted: Out of memory while trying to allocate 16 bytes.",
        "jax-ml/jax#4994",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Resource exhausted: Ran out of memory in memory space hbm. Used 8.38G of 8.00G hbm.",
        "pytorch/xla#1881",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Resource exhausted: From /job:tpu_worker/replica:0/task:0:\n"
        "Attempting to reserve 3.95G at the bottom of memory. That was not possible. There are "
        "1.92G free, 0B reserved, and 1.92G reservable.",
        "pytorch/xla#1735",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Resource exhausted: Attempting to allocate 3.95G. That was not possible. There are 1.92G free.",
        "pytorch/xla#1881",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "RESOURCE_EXHAUSTED: Attempting to reserve 6.48G at the bottom of memory. That was not "
        "possible. There are 6.78G free, 0B reserved, and 3.33G reservable.",
        "pytorch/xla#3470",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "RESOURCE_EXHAUSTED: Attempting to allocate 2.50G. That was not possible. There are "
        "1.33G free.; (1x1x0_HBM0)",
        "pytorch/xla#8395",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Bad StatusOr access: RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of "
        "memory in memory space vmem. Used 17.05M of 16.00M vmem.",
        "pytorch/xla#9524",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Bad StatusOr access: RESOURCE_EXHAUSTED: Out of memory allocating 20029400304 bytes.",
        "pytorch/xla#7827",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Bad StatusOr access: RESOURCE_EXHAUSTED: Failed to allocate request for 2.00GiB "
        "(2147483648B) on device ordinal 0",
        "pytorch/xla#7827",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Bad StatusOr access: RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting "
        "to allocate 2.50G. That was not possible. There are 1.33G free.; (0x0x0_HBM0)",
        "pytorch/xla#8395",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Bad StatusOr access: RESOURCE_EXHAUSTED: Attempting to reserve 10.51G at the bottom "
        "of memory. That was not possible. There are 8.97G free, 0B reserved, and 8.97G "
        "reservable.",
        "huggingface/transformers#22328",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: Failed to allocate 98697216 bytes for new constant",
        "octo-models/octo#22",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: Out of memory while trying to allocate 6291456 bytes.",
        "jax-ml/jax#13428",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: Failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "jax-ml/jax#4994",
    ),
    RealText(
        OOM,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: cuGraphInstantiate failed: out of memory",
        "jax-ml/jax#17399",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Internal: Failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "jax-ml/jax#4994",
    ),
    RealText(
        SUSPECT,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "UNKNOWN: CUDNN_STATUS_EXECUTION_FAILED\n"
        "in external/org_tensorflow/tensorflow/stream_executor/cuda/cuda_dnn.cc(4139): "
        "'cudnnConvolutionForward( cudnn.handle(), alpha )'",
        "jax-ml/jax#8506",
    ),
    RealText(
        DEAD,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "INTERNAL: Failed to execute XLA Runtime executable: run time error: custom call "
        "'xla.gpu.func.launch' failed: Failed to launch CUDA kernel: fusion_1560 with block "
        "dimensions: 160x1x1 and grid dimensions: 1x1x1: CUDA_ERROR_ILLEGAL_ADDRESS: an "
        "illegal memory access was encountered.",
        "jaxleyverse/jaxley#53",
    ),
    RealText(
        OOM,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):\n  "
        'File "step.py", line 8, in <module>\n  File "jax/_src/callback.py", line 816, in '
        '_wrapped_callback\n  File "step.py", line 8, in <lambda>\n'
        "MemoryError: Unable to allocate 8.00 PiB for an array with shape (1125899906842624,) "
        "and data type float64",
        "seen, 0.10.2",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Expand "
        "node. Name:'' Status Message: "
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* "
        "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed "
        "to allocate memory for requested buffer of size 4503599627370496\n",
        "seen, 1.32.0",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException < Exception",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while "
        "running Conv node. Name:'/patch_embed/fc1/Conv' Status Message: \n"
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
        "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, "
        "onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of "
        "size 4585490524328388608",
        "microsoft/onnxruntime#22702",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : "
        "D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:121 "
        "onnxruntime::CudaCall "
        "D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:114 "
        "onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; hostname=DESKTOP ; "
        "file=cuda_stream_handle.cc ; line=175 ; expr=cudaStreamCreateWithFlags(&stream, "
        "cudaStreamNonBlocking);",
        "hacksider/Deep-Live-Cam#584",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException < Exception",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while "
        "running Gemm node. Name:'fc1' Status Message: "
        "D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:114 "
        "onnxruntime::CudaCall CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; "
        "hostname=TOBI ; file=cuda_execution_provider.cc ; line=168 ; "
        "expr=cublasCreate(&cublas_handle_);",
        "hacksider/Deep-Live-Cam#645",
    ),
    RealText(
        OOM,
        "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException < Exception",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: "
        "D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\dml\\DmlExecutionProvider\\src\\Bucketize"
        "dBufferAllocator.cpp(122)\\onnxruntime_pybind11_state.pyd!00007FFA82D145C8: (caller: "
        "00007FFA8336D326) Exception(1) tid(4790) 8007000E Not enough memory resources are "
        "available to complete this operation.",
        "huggingface/diffusers#791",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc",
        "seen, onnxruntime 1.32.0 and faiss-cpu 1.15.1",
    ),
    RealText(
        SIZE,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Expand "
        "node. Name:'' Status Message: /onnxruntime_src/onnxruntime/core/common/safeint.h:17 "
        "static void "
        "SafeIntExceptionHandler<onnxruntime::OnnxRuntimeException>::SafeIntOnOverflow() "
        "Integer overflow\n",
        "seen, 1.32.0",
    ),
    RealText(
        DEAD,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was "
        "encountered ; GPU=0 ; hostname=a ; file=gpu_data_transfer.cc ; line=62 ; "
        "expr=cudaStreamSynchronize(stream);",
        "microsoft/onnxruntime onnxruntime/core/providers/cuda/cuda_call.cc",
    ),
    RealText(
        DEAD,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 719: unspecified launch failure ; GPU=0 "
        "; hostname=a ; file=gpu_data_transfer.cc ; line=62 ; "
        "expr=cudaStreamSynchronize(stream);",
        "microsoft/onnxruntime onnxruntime/core/providers/cuda/cuda_call.cc",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Exception from src/inference/src/cpp/infer_request.cpp:224:\n"
        "Exception from src/plugins/intel_cpu/src/node.cpp:794:\n"
        "[CPU] MatMul node with name 'MatMul_3' Check 'ptr' failed at "
        "src/plugins/intel_cpu/src/cpu_memory.cpp:257:\n"
        "Failed to allocate 68719476736 bytes of memory\n\n\n",
        "seen, 2026.4.1",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n",
        "seen, 2026.4.1",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Check 'byte_size' failed at src/inference/src/dev/make_tensor.cpp:314:\n"
        "Cannot allocate memory for type: f32 and shape: [1099511627776,1099511627776]\n",
        "seen, 2026.4.1",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Exception from src\\inference\\src\\cpp\\infer_request.cpp:223:\n"
        "Check '!exceed_allocatable_mem_size' failed at "
        "src\\plugins\\intel_gpu\\src\\runtime\\ocl\\ocl_engine.cpp:115:\n"
        "[GPU] Exceeded max size of memory object allocation: requested 2305843008391495680 "
        "bytes, but max alloc size supported by device is 4294959104 bytes.Please try to "
        "reduce batch size or use lower precision.",
        "openvinotoolkit/openvino.genai#2406",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Check '!exceed_allocatable_mem_size' failed at "
        "src/plugins/intel_gpu/src/runtime/ocl/ocl_engine.cpp:115:\n"
        "[GPU] Exceeded max size of memory object allocation: requested 4831838208 bytes, but "
        "max alloc size supported by device is 1073741824 bytes.Please try to reduce batch "
        "size or use lower precision.",
        "ggml-org/llama.cpp#20661",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "Exception from src/inference/src/cpp/infer_request.cpp:245:\n"
        "Exception from src/plugins/intel_gpu/src/runtime/ocl/ocl_engine.cpp:185:\n"
        "[GPU] out of GPU resources",
        "immich-app/immich#13674",
    ),
    RealText(
        OOM,
        "cv2.error < Exception",
        "OpenCV(5.0.0) /io/opencv/modules/core/src/alloc.cpp:73: error: (-4:Insufficient "
        "memory) Failed to allocate 1600000000 bytes in function 'OutOfMemoryError'\n",
        "seen, 5.0.0",
    ),
    RealText(
        OOM,
        "cv2.error < Exception",
        "OpenCV(4.4.0) "
        "C:\\Users\\appveyor\\AppData\\Local\\Temp\\1\\pip-req-build-h4wtvo23\\opencv\\modules\\cor"
        "e\\src\\alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 6291456 "
        "bytes in function 'cv::OutOfMemoryError'",
        "lhoyer/DAFormer#89",
    ),
    RealText(
        OOM,
        "cv2.error < Exception",
        "OpenCV(4.7.0) /io/opencv/modules/core/src/cuda_host_mem.cpp:95: error: (-217:Gpu API "
        "call) out of memory in function 'allocate'",
        "opencv/opencv#23392",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "mkl_malloc: failed to allocate memory",
        "seen, CTranslate2 4.8.5",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "could not create a memory object",
        "SYSTRAN/faster-whisper#660",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "could not execute a primitive",
        "oneapi-src/oneDNN include/oneapi/dnnl/dnnl.hpp",
    ),
    RealText(
        OOM,
        "MemoryError",
        "(ResourceExhausted) Fail to alloc memory of 4398046511104 size, error code is 12.\n  "
        "[Hint: Expected error == 0, but received error:12 != 0:0.] (at "
        "/paddle/paddle/phi/core/memory/allocation/cpu_allocator.cc:44)\n",
        "seen, Paddle 3.3.1",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "(ResourceExhausted) Fail to alloc memory of 4398046511104 size, error code is 12.",
        "seen, Paddle 3.3.1, where another class carries it",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "ResourceExhaustedError: \n\n"
        "Out of memory error on GPU 0. Cannot allocate 98.000244MB memory on GPU 0, 6.000000GB "
        "memory has been allocated and available memory is only 0.000000B.\n\n"
        "Please check whether there is any other process using GPU 0.",
        "PaddlePaddle/Paddle#42228",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "\n\n"
        "--------------------------------------\n"
        "C++ Traceback (most recent call last):\n"
        "--------------------------------------\n"
        "0   paddle::memory::allocation::Allocate(unsigned long)\n\n"
        "----------------------\n"
        "Error Message Summary:\n"
        "----------------------\n"
        "ResourceExhaustedError: \n\n"
        "Out of memory error on GPU 0. Cannot allocate 3.125000GB memory on GPU 0, available "
        "memory is only 117.750000MB.\n",
        "PaddlePaddle/PaddleOCR#645",
    ),
    RealText(
        OOM,
        "xgboost.core.XGBoostError < ValueError",
        "std::bad_alloc",
        "seen, 3.2.0",
    ),
    RealText(
        OOM,
        "xgboost.core.XGBoostError < ValueError",
        "[10:22:33] /workspace/src/tree/updater_gpu_hist.cu:793: Exception in gpu_hist: "
        "[10:22:33] /workspace/src/c_api/../data/../common/device_helpers.cuh:431: Memory "
        "allocation error on worker 0: std::bad_alloc: cudaErrorMemoryAllocation: out of "
        "memory\n"
        "- Free memory: 11075584\n"
        "- Requested memory: 9232383",
        "dmlc/xgboost#7140",
    ),
    RealText(
        OOM,
        "xgboost.core.XGBoostError < ValueError",
        "[10:22:33] /workspace/src/common/device_helpers.cuh:431: Memory allocation error on "
        "worker 0: out of memory",
        "dmlc/xgboost#9793",
    ),
    RealText(
        OOM,
        "_catboost.CatBoostError < Exception",
        "catboost/cuda/cuda_lib/memory_pool/stack_like_memory_pool.h:303: Error: Out of "
        "memory. Requested 8880 MB; Free 5902.061425 MB",
        "catboost/catboost#2750",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Failed to allocate 68719476736 bytes on device 'cuda:0'",
        "NVIDIA/warp warp/context.py",
    ),
    RealText(
        OOM,
        "_duckdb.OutOfMemoryException < Exception",
        "Out of Memory Error: failed to allocate data of size 16.0 MiB (32.0 MiB/47.6 MiB "
        "used)\n"
        "Database is launched in in-memory mode and no temporary directory is specified.",
        "seen, 2.0.1",
    ),
    RealText(
        OOM,
        "duckdb.duckdb.OutOfMemoryException < Exception",
        "Out of Memory Error: could not allocate block of size 256.0 KiB (47.5 MiB/47.6 MiB used)",
        "duckdb/duckdb tools/pythonpkg",
    ),
    RealText(
        OOM,
        "ray.exceptions.OutOfMemoryError < Exception",
        "Task was killed due to the node running low on memory.\n"
        "Memory on the node (IP: 172.17.0.2, ID: 8c5a14) where the task (task ID: 41617b, "
        "name=allocate_memory, pid=548, memory used=12.18GB) was running was 21.91GB / 33.28GB "
        "(0.658192), which exceeds the memory usage threshold of 0.65.",
        "ray-project/ray#30312",
    ),
    RealText(
        OOM,
        "ray.exceptions.RayTaskError < Exception",
        '\x1b[36mray::step()\x1b[39m (pid=4711, ip=10.0.0.1)\n  File "step.py", line 4, in '
        "step\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a "
        "total capacity of 7.79 GiB",
        "ray-project/ray python/ray/exceptions.py",
    ),
    RealText(
        OOM,
        "torch.multiprocessing.spawn.ProcessRaisedException < Exception",
        "\n\n"
        "-- Process 0 terminated with the following error:\n"
        'Traceback (most recent call last):\n  File "torch/multiprocessing/spawn.py", line 90, '
        "in _wrap\n    fn(i, *args)\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
        "pytorch/pytorch torch/multiprocessing/spawn.py",
    ),
    RealText(
        OOM,
        "torch._dynamo.exc.BackendCompilerFailed < RuntimeError",
        "backend='inductor' raised:\n"
        "RuntimeError: Triton Error [CUDA]: out of memory\n\n"
        "Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace (please do this especially if "
        "you're reporting a bug to PyTorch).",
        "pytorch/pytorch torch/_dynamo/exc.py",
    ),
    RealText(
        OOM,
        "torch._inductor.exc.LoweringException < RuntimeError",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n  target: "
        "aten.mm.default\n  args[0]: TensorBox(",
        "pytorch/pytorch torch/_inductor/exc.py",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript, serialized code (most recent call last):\n  File "
        '"code/__torch__/basicsr/archs/rrdbnet_arch.py", line 29, in forward\n    _9 = '
        "(_7).forward(input, )\n          ~~~~~~~~~~~ <--- HERE\n"
        "RuntimeError: CUDA out of memory. Tried to allocate 992.00 MiB (GPU 0; 11.17 GiB "
        "total capacity)",
        "pytorch/TensorRT#603",
    ),
    RealText(
        OOM,
        "torch.OutOfMemoryError < RuntimeError",
        "Caught OutOfMemoryError in replica 0 on device 0.\n"
        "Original Traceback (most recent call last):\n  File "
        '"torch/nn/parallel/parallel_apply.py", line 96, in _worker\n    output = '
        "module(*input, **kwargs)\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
        "pytorch/pytorch torch/_utils.py",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "Caught RuntimeError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n  File "
        '"torch/utils/data/_utils/worker.py", line 308, in _worker_loop\n    data = '
        "fetcher.fetch(index)\n"
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: "
        "can't allocate memory: you tried to allocate 4294967296 bytes. Error code 12 (Cannot "
        "allocate memory)\n",
        "pytorch/pytorch torch/_utils.py",
    ),
    RealText(
        OOM,
        "concurrent.futures.process._RemoteTraceback < Exception",
        "\n"
        '"""\n'
        'Traceback (most recent call last):\n  File "concurrent/futures/process.py", line 261, '
        "in _process_worker\n    r = call_item.fn(*call_item.args, **call_item.kwargs)\n"
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 GiB for an array "
        "with shape (1073741824,) and data type float64\n"
        '"""',
        "seen, Python 3.11",
    ),
    RealText(
        SIZE,
        "triton.runtime.errors.OutOfResources < Exception",
        "out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing "
        "block sizes or `num_stages` may help.",
        "triton-lang/triton#8182",
    ),
    RealText(
        SIZE,
        "triton.runtime.autotuner.OutOfResources < Exception",
        "out of resource: shared memory, Required: 663808, Hardware limit: 101376. Reducing "
        "block sizes or `num_stages` may help.",
        "state-spaces/mamba#387",
    ),
)
