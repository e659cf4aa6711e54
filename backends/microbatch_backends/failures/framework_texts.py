"""How frameworks say that memory ran out: TensorFlow, JAX and XLA, onnxruntime, OpenVINO, OpenCV and others.

Invariant: a text that the framework prints for other reasons too is not here. `RESOURCE_EXHAUSTED` is one of
them: it is also the answer of a server whose quota is used up, and of a disk that is full.
"""

from __future__ import annotations

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.family import ONNXRUNTIME, Family, spelled

__all__ = ["FAMILIES"]

_XLA_TEXTS = (
    "Out of memory*",
    "*Ran out of memory in memory space *",
    "Failed to allocate *",
    "*Attempting to reserve * at the bottom of memory. That was not possible*",
    "*Attempting to allocate *. That was not possible*",
)
"""What follows the name of the status."""

FAMILIES = (
    Family(
        library="torch",
        kind=FailureKind.OOM,
        classes=("torch.OutOfMemoryError",),
        source="pytorch/pytorch torch/csrc/Exceptions.cpp",
    ),
    Family(
        library="CuPy",
        kind=FailureKind.OOM,
        classes=("cupy.OutOfMemoryError",),
        source="cupy/cupy cupy/cuda/memory.pyx",
    ),
    Family(
        library="TensorFlow",
        kind=FailureKind.OOM,
        classes=("tensorflow.ResourceExhaustedError",),
        texts=(
            "*OOM when allocating *",
            "*failed to allocate memory*",
            "*Ran out of memory in memory space *",
        ),
        source="seen, 2.21.0; tensorflow/tpu#385, faustomorales/keras-ocr#195",
    ),
    Family(
        library="TensorFlow, where a copy to the device had no room",
        kind=FailureKind.OOM,
        classes=("tensorflow.InternalError",),
        texts=("*Dst tensor is not initialized*", "*failed to allocate memory*"),
        source="tensorflow/tensorflow#7025 and #30912",
    ),
    Family(
        library="JAX, torch_xla",
        kind=FailureKind.OOM,
        texts=spelled(
            (
                "RESOURCE_EXHAUSTED: ",
                "Resource exhausted: ",
                "Bad StatusOr access: RESOURCE_EXHAUSTED: ",
            ),
            _XLA_TEXTS,
        ),
        classes=("RuntimeError", "jax.JaxRuntimeError", "jaxlib.XlaRuntimeError"),
        source="seen, jax 0.10.2; google-deepmind/jax_privacy#10, LargeWorldModel/LWM#60, "
        "pytorch/xla#3470, #9524 and #1735, kingoflolz/mesh-transformer-jax#66",
    ),
    Family(
        library="JAX",
        kind=FailureKind.OOM,
        texts=(
            "INTERNAL: Failed to allocate * bytes for new constant",
            "INTERNAL: Out of memory*",
            "INTERNAL: * out of memory",
        ),
        classes=("RuntimeError", "jax.JaxRuntimeError", "jaxlib.XlaRuntimeError"),
        source="octo-models/octo#22, jax-ml/jax#4994",
    ),
    Family(
        library="onnxruntime",
        kind=FailureKind.OOM,
        classes=ONNXRUNTIME,
        texts=(
            "*Failed to allocate memory for requested buffer of size*",
            "*CUDA failure 2: out of memory*",
            "*8007000E*",
            "*bad allocation",
            "*std::bad_alloc",
        ),
        source="seen, 1.32.0; microsoft/onnxruntime#22702 and #16305, hacksider/Deep-Live-Cam#584, "
        "huggingface/diffusers#791, C0untFloyd/roop-unleashed#215",
    ),
    Family(
        library="OpenVINO",
        kind=FailureKind.OOM,
        texts=("Exception from *Failed to allocate * bytes of memory*", "Exception from *std::bad_alloc*"),
        source="seen, 2026.4.1",
    ),
    Family(
        library="OpenCV",
        kind=FailureKind.OOM,
        classes=("cv2.error",),
        texts=("OpenCV(*(-4:Insufficient memory)*", "OpenCV(*(-217:Gpu API call) out of memory in function*"),
        source="seen, 5.0.0; opencv/opencv#23392, lhoyer/DAFormer#89",
    ),
    Family(
        library="OpenCV: StsNoMem",
        kind=FailureKind.OOM,
        classes=("cv2.error",),
        attribute="code",
        numbers=(-4,),
        source="seen, 5.0.0",
    ),
    Family(
        library="CTranslate2",
        kind=FailureKind.OOM,
        texts=("mkl_malloc: failed to allocate memory",),
        source="seen, 4.8.5",
    ),
    Family(
        library="Paddle, which raises MemoryError or RuntimeError and names a class of its own in the text",
        kind=FailureKind.OOM,
        classes=("RuntimeError", "paddle.ResourceExhaustedError"),
        texts=("Out of memory error on * Cannot allocate *", "(ResourceExhausted) Fail to alloc memory*"),
        source="PaddlePaddle/Paddle#42228; seen, 3.3.1",
    ),
    Family(
        library="MXNet",
        kind=FailureKind.OOM,
        classes=("mxnet.MXNetError",),
        texts=("*cudaMalloc failed: out of memory*", "*cudaMalloc retry failed: out of memory*"),
        source="apache/mxnet#675, deepinsight/insightface#1240",
    ),
    Family(
        library="XGBoost",
        kind=FailureKind.OOM,
        classes=("xgboost.XGBoostError",),
        texts=("std::bad_alloc", "*Memory allocation error on worker *"),
        source="seen, 3.2.0; dmlc/xgboost#7140",
    ),
    Family(
        library="CatBoost",
        kind=FailureKind.OOM,
        classes=("_catboost.CatBoostError", "catboost.CatBoostError"),
        texts=("*Error: Out of memory. Requested *",),
        source="catboost/catboost#2750",
    ),
    Family(
        library="TensorRT",
        kind=FailureKind.OOM,
        texts=(
            "Error Code 1: Cuda Runtime (out of memory)",
            "CUDA runtime error in *: out of memory*",
            "Encountered an error in *CUDA runtime error in *: out of memory*",
            "Requested amount of GPU memory (* bytes) could not be allocated*",
        ),
        codes=("OutOfMemory",),
        source="NVIDIA/TensorRT#4258, NVIDIA/TensorRT-LLM#3636, pytorch/TensorRT#603",
    ),
    Family(
        library="Warp",
        kind=FailureKind.OOM,
        texts=("Failed to allocate * bytes on device '*'",),
        source="NVIDIA/warp warp/context.py",
    ),
    Family(
        library="DuckDB, within the process",
        kind=FailureKind.OOM,
        classes=("duckdb.OutOfMemoryException", "_duckdb.OutOfMemoryException"),
        source="seen, 2.0.1",
    ),
    Family(
        library="Ray",
        kind=FailureKind.OOM,
        classes=("ray.OutOfMemoryError", "ray.ObjectStoreFullError"),
        source="ray-project/ray python/ray/exceptions.py, ray-project/ray#30312",
    ),
)
"""All rows."""
