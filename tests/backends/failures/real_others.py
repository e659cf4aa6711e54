"""What must not be taken for memory: quotas, pools, disks, codecs, quotations; each with its source."""

from __future__ import annotations

from tests.backends.failures.real_text import OTHER, RealText

TEXTS = (
    RealText(
        OTHER,
        "RuntimeError",
        "RESOURCE_EXHAUSTED: Bandwidth exhausted or memory limit exceeded",
        "grpc/grpc-node#2948",
    ),
    RealText(
        OTHER,
        "grpc._channel._InactiveRpcError < Exception",
        "RESOURCE_EXHAUSTED: Bandwidth exhausted or memory limit exceeded",
        "grpc/grpc-node#2948",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "rpc error: code = ResourceExhausted desc = grpc: received message larger than max "
        "(4977817 vs. 4194304)",
        "enfein/mieru#166",
    ),
    RealText(
        OTHER,
        "ValueError",
        "Buffer size too small (0 instead of at least 1 bytes)",
        "livekit/python-sdks#527",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "MUSA error: unknown error",
        "MooreThreads/torch_musa#75",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "copy_d2d:torch_npu/csrc/aten/common/CopyKernel.cpp:274 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507001",
        "vllm-project/vllm-ascend#116",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Error in magma_getdevice_arch: MAGMA not initialized (call magma_init() first) or bad device",
        "pytorch/pytorch#60175",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "inverse: MAGMA library not found in compilation. Please rebuild with MAGMA.",
        "pytorch/pytorch#27053",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "DataLoader worker (pid(s) 3216) exited unexpectedly",
        "THU-DA-6D-Pose-Group/GDR-Net#16",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CUDA error: unknown error\n"
        "CUDA kernel errors might be asynchronously reported at some other API call,so the "
        "stacktrace below might be incorrect.",
        "bubbliiiing/yolo3-pytorch#188",
    ),
    RealText(
        OTHER,
        "grpc._channel._InactiveRpcError < Exception",
        "<_InactiveRpcError of RPC that terminated with:\n\tstatus = "
        'StatusCode.RESOURCE_EXHAUSTED\n\tdetails = "Resource has been exhausted (e.g. check '
        'quota)."\n\tdebug_error_string = "UNKNOWN:Error received from peer {grpc_status:8}"\n'
        ">",
        "google/generative-ai-docs#438",
    ),
    RealText(
        OTHER,
        "grpc._channel._InactiveRpcError < Exception",
        "<_InactiveRpcError of RPC that terminated with:\n\tstatus = "
        'StatusCode.RESOURCE_EXHAUSTED\n\tdetails = "Received message larger than max '
        '(17777780 vs. 4194304)"\n\tdebug_error_string = "UNKNOWN:Error received from peer '
        '{grpc_status:8}"\n'
        ">",
        "grpc/grpc.io#1254",
    ),
    RealText(
        OTHER,
        "google.api_core.exceptions.ResourceExhausted < Exception",
        "429 Quota exceeded for quota metric 'Requests' and limit 'Requests per minute' of "
        "service 'speech.googleapis.com'.",
        "googleapis/google-cloud-python#5787",
    ),
    RealText(
        OTHER,
        "google.genai.errors.ClientError < Exception",
        "429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'You exceeded your current "
        "quota, please check your plan and billing details.', 'status': 'RESOURCE_EXHAUSTED'}}",
        "googleapis/python-genai#1446",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'",
        "googleapis/google-cloud-python#5787, handed on by a client of XLA",
    ),
    RealText(
        OTHER,
        "jaxlib.xla_extension.XlaRuntimeError < RuntimeError",
        "RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'TPU requests'",
        "the status of gRPC through XLA",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "RESOURCE_EXHAUSTED: Received message larger than max (14245240 vs. 4194304)",
        "bloomrpc/bloomrpc#404",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Resource exhausted: too many requests in the queue of the connection pool",
        "a function's own",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "disk quota exceeded [Op:SaveV2]",
        "keras-team/keras-tuner#390",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "models/context.model/variables/variables_temp_d0c7/part-00000-of-00002.data-0000"
        "0-of-00001.tempstate8490917510693379885; No space left on device",
        "keras-team/keras-tuner#390",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "./model/model-49.tempstate5787507096018461664\n         [[Node: save/save = SaveSlices[]]]",
        "tensorflow/tensorflow#4350",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError < Exception",
        "/imagenet-data/raw-data/train; Too many open files",
        "tensorflow/tensorflow#7013",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.InvalidArgumentError < Exception",
        "{{function_node "
        "__wrapped__EagerPyFunc_device_/job:localhost/replica:0/task:0/device:CPU:0}} "
        "ValueError: OOM when allocating tensor: quoted\n"
        'Traceback (most recent call last):\n\n  File "tensorflow/python/ops/script_ops.py", '
        "line 267, in __call__\n    return func(device, token, args)\n\n"
        "ValueError: OOM when allocating tensor: quoted\n\n [Op:EagerPyFunc] name: ",
        "seen, 2.21.0",
    ),
    RealText(
        OTHER,
        "tensorflow.python.framework.errors_impl.InvalidArgumentError < Exception",
        "{{function_node __wrapped__Fill_device_/job:localhost/replica:0/task:0/device:CPU:0}} "
        "Shape [1099511627776,1099511627776] would have more than 2**63 - 1 elements [Op:Fill] "
        "name: ",
        "seen, 2.21.0",
    ),
    RealText(
        OTHER,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):\n  "
        'File "step.py", line 8, in <module>\n  File "jax/_src/callback.py", line 816, in '
        '_wrapped_callback\n  File "step.py", line 8, in <lambda>\n'
        "ValueError: the room is out of memory cards: RESOURCE_EXHAUSTED: Out of memory "
        "allocating",
        "seen, 0.10.2",
    ),
    RealText(
        OTHER,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):\n  "
        'File "step.py", line 8, in <module>\n  File "jax/_src/callback.py", line 816, in '
        '_wrapped_callback\n  File "step.py", line 8, in <lambda>\n'
        "ZeroDivisionError: division by zero",
        "seen, 0.10.2",
    ),
    RealText(
        OTHER,
        "jax.errors.JaxRuntimeError < RuntimeError",
        "INVALID_ARGUMENT: overflow in static extent product: dimensions=[2147483648, 2147483648].",
        "seen, 0.10.2",
    ),
    RealText(
        OTHER,
        "onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument < Exception",
        "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: b for "
        "the following indices\n index: 0 Got: 65536 Expected: 1\n Please fix either the "
        "inputs/outputs or the model.",
        "seen, 1.32.0",
    ),
    RealText(
        OTHER,
        "onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile < Exception",
        "[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from /nope.onnx failed:Load model "
        "/nope.onnx failed. File doesn't exist",
        "seen, 1.32.0",
    ),
    RealText(
        OTHER,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail < Exception",
        "[ONNXRuntimeError] : 1 : FAIL : Load model from model.onnx failed:Fatal error: MyOp "
        "is not a registered function/op",
        "microsoft/onnxruntime onnxruntime/core/graph/model.cc",
    ),
    RealText(
        OTHER,
        "cv2.error < Exception",
        "OpenCV(5.0.0) /io/opencv/modules/imgproc/src/resize.cpp:4092: error: (-5:Bad "
        "argument) Unknown interpolation method in function 'resize'\n",
        "seen, 5.0.0",
    ),
    RealText(
        OTHER,
        "sqlalchemy.exc.TimeoutError < Exception",
        "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00 "
        "(Background on this error at: https://sqlalche.me/e/20/3o7r)",
        "numerique-gouv/ami-notifications-api#375",
    ),
    RealText(
        OTHER,
        "psycopg2.errors.OutOfMemory < Exception",
        'out of memory\nDETAIL:  Failed on request of size 8388608 in memory context "ExecutorState".\n',
        "the error codes of PostgreSQL, class 53",
    ),
    RealText(
        OTHER,
        "psycopg2.OperationalError < Exception",
        "FATAL:  sorry, too many clients already\n",
        "the error codes of PostgreSQL, class 53",
    ),
    RealText(
        OTHER,
        "pymysql.err.OperationalError < Exception",
        "(1041, 'Out of memory; restart server and try again (needed 65535 bytes)')",
        "the error messages of the MySQL server",
    ),
    RealText(
        OTHER,
        "sqlite3.OperationalError < Exception",
        "database or disk is full",
        "seen, Python 3.11",
    ),
    RealText(
        OTHER,
        "sqlite3.DataError < Exception",
        "string or blob too big",
        "seen, Python 3.11",
    ),
    RealText(
        OTHER,
        "redis.exceptions.OutOfMemoryError < Exception",
        "command not allowed when used memory > 'maxmemory'.",
        "redis/redis-py redis/exceptions.py",
    ),
    RealText(
        OTHER,
        "redis.exceptions.ResponseError < Exception",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "redis/redis-py#817",
    ),
    RealText(
        OTHER,
        "openai.RateLimitError < Exception",
        "Error code: 429 - {'error': {'message': 'You exceeded your current quota, please "
        "check your plan and billing details.', 'type': 'insufficient_quota'}}",
        "openai/openai-python src/openai/_exceptions.py",
    ),
    RealText(
        OTHER,
        "botocore.exceptions.ClientError < Exception",
        "An error occurred (ThrottlingException) when calling the InvokeModel operation: Too many requests",
        "boto/botocore botocore/exceptions.py",
    ),
    RealText(
        OTHER,
        "requests.exceptions.ConnectionError < OSError",
        "HTTPSConnectionPool(host='example.org', port=443): Max retries exceeded with url: / "
        "(Caused by NewConnectionError)",
        "psf/requests src/requests/adapters.py",
    ),
    RealText(
        OTHER,
        "OSError | errno=28",
        "No space left on device",
        "NVIDIA/Megatron-LM#878",
    ),
    RealText(
        OTHER,
        "OSError | errno=24",
        "Too many open files: '/dev/null'",
        "seen, Python 3.11",
    ),
    RealText(
        OTHER,
        "OSError | errno=11",
        "Resource temporarily unavailable",
        "the system's EAGAIN of fork",
    ),
    RealText(
        OTHER,
        "OSError | errno=122",
        "Disk quota exceeded",
        "the documentation of errno",
    ),
    RealText(
        OTHER,
        "OSError | winerror=5",
        "Zugriff verweigert",
        "babysor/MockingBird#486",
    ),
    RealText(
        OTHER,
        "OSError",
        "Lz4 compressed input contains less than one frame",
        "seen, pyarrow 26.0.1",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "unable to mmap 2048 bytes from file <data.bin>: No such device (19)",
        "pytorch/pytorch#123262",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "unable to resize file </tmp/nofile> to the right size: File too large (27)",
        "seen, torch 2.13.0",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "can't start new thread",
        "seen, Python 3.11: in reports it is the limit on threads",
    ),
    RealText(
        OTHER,
        "concurrent.futures.process.BrokenProcessPool < RuntimeError",
        "A process in the process pool was terminated abruptly while the future was running or pending.",
        "seen, Python 3.11: the pool stays broken",
    ),
    RealText(
        OTHER,
        "ValueError",
        "invalid buffer size",
        "python/cpython Lib/_pyio.py",
    ),
    RealText(
        OTHER,
        "ValueError",
        "Invalid buffer size: 24.00 GB",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "invalid buffer size: 0",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Invalid buffer size: 512, must be a power of two",
        "a function's own",
    ),
    RealText(
        OTHER,
        "ValueError",
        "destination buffer too small",
        "zarr-developers/numcodecs#323",
    ),
    RealText(
        OTHER,
        "ValueError",
        "bad input data",
        "seen, numcodecs 0.16.6",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "error during blosc decompression: -1",
        "seen, numcodecs 0.16.6",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Zstd decompression error: invalid input data",
        "seen, numcodecs 0.16.6",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Cannot decompress",
        "Blosc/python-blosc2#44",
    ),
    RealText(
        OTHER,
        "ValueError",
        "buffer size must be a multiple of element size",
        "seen, NumPy 2.4.6",
    ),
    RealText(
        OTHER,
        "ValueError",
        "negative dimensions are not allowed",
        "seen, NumPy 2.4.6",
    ),
    RealText(
        OTHER,
        "ValueError",
        "cannot reshape array of size 3 into shape (5,)",
        "seen, NumPy 2.4.6",
    ),
    RealText(
        OTHER,
        "OverflowError",
        "cannot fit 'int' into an index-sized integer",
        "seen, Python 3.11",
    ),
    RealText(
        OTHER,
        "OverflowError",
        "Integer value 2147483648 is outside the supported range [-2147483648, 2147483647].",
        "seen, mlx 0.32.4",
    ),
    RealText(
        OTHER,
        "pyarrow.lib.ArrowInvalid < ValueError",
        "Expected to read 1684234849 metadata bytes, but only read 0",
        "seen, 26.0.1",
    ),
    RealText(
        OTHER,
        "pyarrow.lib.ArrowIndexError < IndexError",
        "Negative buffer slice length",
        "seen, 26.0.1",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "number of categories cannot exceed 2^24",
        "seen, torch 2.13.0: of one row",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0",
        "ruizhecao96/CMGAN#30",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "mat1 and mat2 shapes cannot be multiplied (8x3 and 4x5)",
        "pytorch/pytorch aten/src/ATen/native/LinearAlgebra.cpp",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CUDA error: no kernel image is available for execution on the device\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "huggingface/autotrain-advanced#737",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CUDA error: invalid argument\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
        "the CUDA documentation of cudaError_t",
    ),
    RealText(
        OTHER,
        "cupy_backends.cuda.api.runtime.CUDARuntimeError < RuntimeError | status=1",
        "cudaErrorInvalidValue: invalid argument",
        "cupy/cupy cupy_backends/cuda/api/runtime.pyx",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CNRT error: invalid argument.",
        "Cambricon/torch_mlu torch_mlu/csrc/framework/core/device_utils.h",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "cudaMemAdvise(data_, small_pool_size, cudaMemAdviseSetReadMostly, 0) failed: invalid argument",
        "ml-explore/mlx#2519",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "[METAL] Command buffer execution failed: Invalid Resource "
        "(00000009:kIOGPUCommandBufferCallbackErrorInvalidResource)",
        "Blaizzy/mlx-vlm#270",
    ),
    RealText(
        OTHER,
        "numba.cuda.cudadrv.driver.CudaAPIError < Exception",
        "[1] Call to cuMemsetD8 results in CUDA_ERROR_INVALID_VALUE",
        "numba/numba#7180",
    ),
    RealText(
        OTHER,
        "pyopencl._cl.LogicError < Exception",
        "clEnqueueNDRangeKernel failed: INVALID_WORK_GROUP_SIZE",
        "openvinotoolkit/openvino#23449",
    ),
    RealText(
        OTHER,
        "xgboost.core.XGBoostError < ValueError",
        "[10:22:33] /workspace/src/objective/objective.cc:26: Unknown objective function: `reg:x`",
        "dmlc/xgboost src/objective/objective.cc",
    ),
    RealText(
        OTHER,
        "zlib.error < Exception",
        "Error -3 while decompressing data: incorrect header check",
        "seen, Python 3.11",
    ),
    RealText(
        OTHER,
        "struct.error < Exception",
        "'i' format requires -2147483648 <= number <= 2147483647",
        "python/cpython Modules/_struct.c",
    ),
    RealText(
        OTHER,
        "h5py.h5.H5Error < RuntimeError",
        "Unable to allocate an id for the dataset (ran out of ids)",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "cannot allocate id 17: already in use",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "Failed to allocate a /yuv420p frame from a fixed pool of hardware frames.",
        "FFmpeg/FFmpeg libavcodec/decode.c",
    ),
    RealText(
        OTHER,
        "ValueError",
        "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` "
        "when initializing the engine.",
        "vllm-project/vllm vllm/v1/core/kv_cache_utils.py: an engine's start",
    ),
    RealText(
        OTHER,
        "elasticsearch.TransportError < Exception",
        "TransportError(429, 'circuit_breaking_exception', '[parent] Data too large, data for "
        "[<http_request>] would be larger than limit')",
        "elastic/elasticsearch-py elasticsearch/exceptions.py",
    ),
    RealText(
        OTHER,
        "KeyError",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "a function's own",
    ),
    RealText(
        OTHER,
        "KeyError",
        "memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "ValueError",
        "CUDA out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "ValueError",
        "could not parse 'CUDA out of memory'",
        "a function's own",
    ),
    RealText(
        OTHER,
        "AssertionError",
        "expected 'RuntimeError: CUDA out of memory' in the log",
        "a function's own",
    ),
    RealText(
        OTHER,
        "AssertionError",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "a function's own",
    ),
    RealText(
        OTHER,
        "TypeError",
        "DefaultCPUAllocator: can't allocate memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "LookupError",
        "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes",
        "a function's own",
    ),
    RealText(
        OTHER,
        "NotImplementedError",
        "MPS backend out of memory (MPS allocated: 8 GB)",
        "a function's own",
    ),
    RealText(
        OTHER,
        "Exception",
        "CUDA out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "Exception",
        "the room is out of memory cards",
        "a function's own",
    ),
    RealText(
        OTHER,
        "game.OutOfCards < Exception",
        "the room is out of memory cards",
        "a function's own",
    ),
    RealText(
        OTHER,
        "game.MemoryError < Exception",
        "no memory card left",
        "a function's own",
    ),
    RealText(
        OTHER,
        "game.OutOfMemoryError < Exception",
        "out of memory cards",
        "a function's own",
    ),
    RealText(
        OTHER,
        "game.ResourceExhaustedError < Exception",
        "no gold left",
        "a function's own",
    ),
    RealText(
        OTHER,
        "model.BudgetError < RuntimeError",
        "CUDA out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "model.OutOfResources < RuntimeError",
        "out of resource: shared memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "the room is out of memory cards",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "the log says: CUDA out of memory. Tried to allocate 2.00 GiB",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "line 3 of the log: CUDA out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "no rule for the text 'CUDA out of memory'",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        'the server answered "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"',
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CUDA out of memory is what the log of job 17 says",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "CUDA error: out of memory cards",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "ValueError: CUDA out of memory",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "status 'CUBLAS_STATUS_ALLOC_FAILED' is not in the enumeration",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "`cudaErrorMemoryAllocation` has no translation",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "expected 3 rows, got 4",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "illegal argument in memory access pattern",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "job 17 ended; its last lines were:\nCUDA out of memory. Tried to allocate 2.00 GiB\n",
        "a function's own",
    ),
    RealText(
        OTHER,
        "RuntimeError",
        "worker failed\n"
        'Traceback (most recent call last):\n  File "log.py", line 3, in parse\n'
        "KeyError: 'CUDA out of memory'\n",
        "a function's own",
    ),
)
