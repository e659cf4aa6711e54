"""What the host and the limits of indices were seen to say; each with its source."""

from __future__ import annotations

from tests.backends.failures.real_text import OOM, SIZE, SUSPECT, RealText

TEXTS = (
    RealText(
        OOM,
        "MemoryError",
        "Cannot allocate 122341986304 bytes: no memory is available.",
        "tinygrad/tinygrad#11442",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc: out_of_memory: RMM failure "
        "at:/blue/program/miniconda3/envs/rapids-23.10/include/rmm/mr/device/pool_memory_"
        "resource.hpp:196: Maximum pool size exceeded",
        "rapidsai/rmm#1421",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc: RMM failure "
        "at:/home/adolf/cupoch/third_party/rmm/include/rmm/mr/device/pool_memory_resource"
        ".hpp:179: Maximum pool size exceeded",
        "neka-nat/cupoch#98",
    ),
    RealText(
        OOM,
        "MemoryError",
        "std::bad_alloc: CUDA error at: ../include/rmm/mr/device/cuda_memory_resource.hpp68: "
        "cudaErrorMemoryAllocation out of memory",
        "rapidsai/rmm#496",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "nnz of the result is too large",
        "scipy/scipy#12495",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate "
        "memory)",
        "seen, 2.13.0",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 1178729664 bytes. Error code 12 (Cannot allocate memory)\n",
        "nguyenvanhoang7398/FANG#1",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you "
        "tried to allocate 1180000000 bytes.",
        "pytorch/pytorch c10/core/impl/alloc_cpu.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1180000000 bytes. "
        "Error code 12 (Cannot allocate memory)",
        "pytorch/pytorch c10/core/impl/alloc_cpu.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 1180000000 bytes. Buy new RAM!",
        "pytorch/pytorch c10/core/CPUAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to mmap 29764 bytes from file </torch_10182_3020184674_63991>: Cannot allocate memory (12)",
        "pytorch/pytorch#87861",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to mmap 2048 bytes from file <filename not specified>: Cannot allocate memory (12)",
        "pytorch/pytorch#92134",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to mmap 23802932552 bytes from file <./flux1-dev.safetensors>: Cannot allocate memory (12)",
        "safetensors/safetensors#528",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to allocate shared memory(shm) for file </torch_12963_2217038257_0>: No space "
        "left on device (28)",
        "seen, 2.13.0",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to allocate shared memory(shm) for file </torch_12963_2217038257_0>: Cannot "
        "allocate memory (12)",
        "pytorch/pytorch aten/src/ATen/MapAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "$ Torch: unable to mmap memory: you tried to mmap 32GB.",
        "pytorch/pytorch aten/src/ATen/MapAllocator.cpp",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "unable to mmap memory: you tried to mmap 32GB.",
        "pytorch/pytorch aten/src/ATen/MapAllocator.cpp",
    ),
    RealText(
        OOM,
        "MemoryError",
        "",
        "seen, Python 3.11: bytearray, list",
    ),
    RealText(
        OOM,
        "numpy._core._exceptions._ArrayMemoryError < MemoryError",
        "Unable to allocate 8.00 GiB for an array with shape (1073741824,) and data type float64",
        "seen, 2.4.6",
    ),
    RealText(
        OOM,
        "numpy.core._exceptions._ArrayMemoryError < MemoryError",
        "Unable to allocate 8.00 GiB for an array with shape (1073741824,) and data type float64",
        "numpy/numpy numpy/core/_exceptions.py",
    ),
    RealText(
        OOM,
        "MemoryError",
        "Allocation failed (probably too large).",
        "seen, numba 0.68.1",
    ),
    RealText(
        OOM,
        "pyarrow.lib.ArrowMemoryError < MemoryError",
        "malloc of size 1125899906842624 failed",
        "seen, 26.0.1",
    ),
    RealText(
        OOM,
        "MemoryError",
        "ResourceExhaustedError: Out of memory error on GPU 0",
        "PaddlePaddle/Paddle#42228",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "std::bad_alloc",
        "ZPdesu/Barbershop#48",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "bad allocation",
        "mapnik/mapnik#3203, bab2min/tomotopy#146",
    ),
    RealText(
        OOM,
        "RuntimeError",
        "std::bad_alloc: out_of_memory: CUDA error at: "
        "/rmm/include/rmm/mr/device/cuda_memory_resource.hpp:70",
        "rapidsai/rmm cpp/include/rmm/error.hpp",
    ),
    RealText(
        OOM,
        "OSError | errno=12",
        "Cannot allocate memory",
        "seen, mmap of Python 3.11",
    ),
    RealText(
        OOM,
        "OSError | winerror=1455",
        "Die Auslagerungsdatei ist zu klein, um diesen Vorgang durchzuführen",
        "pytorch/pytorch#59904",
    ),
    RealText(
        OOM,
        "OSError | winerror=8",
        "Not enough memory resources are available to process this command",
        "the list of system error codes of Windows",
    ),
    RealText(
        OOM,
        "OSError | winerror=14",
        "Not enough storage is available to complete this operation",
        "the list of system error codes of Windows",
    ),
    RealText(
        OOM,
        "ray.exceptions.RayTaskError < Exception",
        'ray::f() (pid=1, ip=10.0.0.1)\n  File "f.py", line 1, in f\n'
        "pyarrow.lib.ArrowMemoryError: malloc of size 1125899906842624 failed",
        "ray-project/ray python/ray/exceptions.py; seen, pyarrow 26.0.1",
    ),
    RealText(
        OOM,
        "ray.exceptions.RayTaskError < Exception",
        'ray::f() (pid=1, ip=10.0.0.1)\n  File "f.py", line 1, in f\n'
        "wgpu.GPUOutOfMemoryError: Not enough memory left.",
        "ray-project/ray python/ray/exceptions.py; pygfx/wgpu-py wgpu/_classes.py",
    ),
    RealText(
        SIZE,
        "ValueError",
        "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size.",
        "seen, NumPy 2.4.6 and numba 0.68.1",
    ),
    RealText(
        SIZE,
        "ValueError",
        "Maximum allowed dimension exceeded",
        "seen, NumPy 2.4.6",
    ),
    RealText(
        SIZE,
        "ValueError",
        "iterator is too large",
        "seen, NumPy 2.4.6",
    ),
    RealText(
        SIZE,
        "ValueError",
        "Indexing a matrix of 4294967296 elements would incur an in integer overflow in "
        "LAPACK. Try using numpy.linalg.svd instead.",
        "scipy/scipy scipy/linalg/_decomp_svd.py",
    ),
    RealText(
        SIZE,
        "ValueError",
        "Indexing a matrix size 65536 x 65536 would incur integer overflow in LAPACK. Try "
        "using numpy.linalg.svd instead.",
        "scipy/scipy scipy/linalg/_decomp_svd.py",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Storage size calculation overflowed with sizes=[4611686018427387904, 4]",
        "seen, 2.13.0",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "numel: integer multiplication overflow",
        "seen, 2.13.0",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "upsample_nearest3d only supports output tensors with less than INT_MAX elements, but "
        "got [2, 64, 86, 483, 483]",
        "kreshuklab/panseg#358",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "upsample_nearest_nhwc only supports output tensors with less than INT_MAX elements",
        "huggingface/diffusers#2306",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "nonzero is not supported for tensors with more than INT_MAX elements,   file a support request",
        "facebookresearch/detectron2#5014",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true, but "
        "got false.  (Could this error message be improved?  If so, please report an "
        "enhancement request to PyTorch.)",
        "pytorch/pytorch aten/src/ATen/native/cuda/DepthwiseConv2d.cu",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "Expected output.numel() <= std::numeric_limits<int32_t>::max() to be true, but got "
        "false.  (Could this error message be improved?  If so, please report an enhancement "
        "request to PyTorch.)",
        "intel/torch-xpu-ops#2510",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "input tensor must fit into 32-bit index math",
        "pytorch/pytorch aten/src/ATen/native/cuda/ReflectionPad.cu",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "numel needs to be smaller than int32_t max; otherwise, please use packed_accessor64",
        "pytorch/pytorch#129191",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "quantile() input tensor is too large",
        "pytorch/pytorch aten/src/ATen/native/Sorting.cpp",
    ),
    RealText(
        SIZE,
        "RuntimeError",
        "magma: The value of work_size(-9223372036854775808) is too large to fit into a "
        "magma_int_t (4 bytes)",
        "pytorch/pytorch aten/src/ATen/native/cuda/linalg/MagmaUtils.h",
    ),
    RealText(
        SIZE,
        "pyarrow.lib.ArrowInvalid < ValueError",
        "offset overflow while concatenating arrays, consider casting input from `binary` to "
        "`large_binary` first.",
        "seen, 26.0.1",
    ),
    RealText(
        SIZE,
        "pyarrow.lib.ArrowCapacityError < Exception",
        "array cannot contain more than 2147483646 bytes, have 2147483647",
        "apache/arrow cpp/src/arrow/array/builder_binary.h",
    ),
    RealText(
        SIZE,
        "OverflowError",
        "serializing a bytes object larger than 4 GiB requires pickle protocol 4 or higher",
        "seen, Python 3.11",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "DataLoader worker (pid 11011) is killed by signal: Killed. ",
        "pytorch/pytorch torch/csrc/DataLoader.cpp",
    ),
    RealText(
        SUSPECT,
        "RuntimeError",
        "DataLoader worker (pid 46794) is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory. Please try to raise your shared memory "
        "limit.",
        "pytorch/pytorch#108861",
    ),
    RealText(
        SUSPECT,
        "joblib.externals.loky.process_executor.TerminatedWorkerError < Exception",
        "A worker process managed by the executor was unexpectedly terminated. This could be "
        "caused by a segmentation fault while calling the function or by an excessive memory "
        "usage causing the Operating System to kill the worker.\n\n"
        "The exit codes of the workers are {SIGKILL(-9)}",
        "joblib/joblib joblib/externals/loky/process_executor.py",
    ),
    RealText(
        SUSPECT,
        "loky.process_executor.TerminatedWorkerError < Exception",
        "A worker process managed by the executor was unexpectedly terminated.",
        "joblib/loky loky/process_executor.py",
    ),
    RealText(
        SUSPECT,
        "distributed.scheduler.KilledWorker < Exception",
        "Attempted to run task ('shuffle-transfer-d80b45ae', 20) on 4 different workers, but "
        "all those workers died while running it. The last worker that attempt to run the task "
        "was tcp://127.0.0.1:37493.",
        "dask/distributed distributed/scheduler.py",
    ),
)
