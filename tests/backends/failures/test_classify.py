"""Every row of the failure table, and how chains and groups of exceptions are read."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.classify import classify
from microbatch_backends.failures.table import RULES

OOM, SIZE, SUSPECT, DEAD, OTHER = (
    FailureKind.OOM,
    FailureKind.SIZE,
    FailureKind.SUSPECT,
    FailureKind.DEAD,
    FailureKind.OTHER,
)


def foreign(path: str, *bases: type) -> type:
    """An exception class as a framework that is not installed would define it."""
    module, _, name = path.rpartition(".")
    return type(name, bases or (RuntimeError,), {"__module__": module})


TorchOom = foreign("torch.OutOfMemoryError")
Accelerator = foreign("torch.AcceleratorError")
CupyOom = foreign("cupy.cuda.memory.OutOfMemoryError", MemoryError)
CudaRuntime = foreign("cupy_backends.cuda.api.runtime.CUDARuntimeError")
CudaDriver = foreign("cupy_backends.cuda.api.driver.CUDADriverError")


def with_status(kind: type, text: str, **numbers: int) -> Exception:
    error = kind(text)
    for name, number in numbers.items():
        setattr(error, name, number)
    return error


def numpy_error() -> Exception:
    try:
        np.empty((1 << 30, 1 << 20))
    except MemoryError as error:
        return error
    raise AssertionError("nobody has eight petabytes")


def numpy_size_error(shape: tuple[int, ...]) -> Exception:
    with pytest.raises(ValueError) as caught:
        np.empty(shape)
    return caught.value


ROWS = [
    (TorchOom("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7 GiB"), OOM),
    (TorchOom("HIP out of memory. Tried to allocate 2.00 GiB"), OOM),
    (TorchOom("Allocation on device 0 would exceed allowed memory. (out of memory)\nRequested: 2 GiB"), OOM),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), OOM),
    (RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"), OOM),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"), OOM),
    (Accelerator("CUDA error: out of memory"), OOM),
    (with_status(Accelerator, "something new", error_code=2), OOM),
    (RuntimeError("CUDA driver error: out of memory"), OOM),
    (RuntimeError("HIP error: out of memory"), OOM),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OOM),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), SUSPECT),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), SUSPECT),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), SUSPECT),
    (
        RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate`"),
        SUSPECT,
    ),
    (RuntimeError("Failed to create cuRAND handle"), SUSPECT),
    (RuntimeError("CURAND_STATUS_INITIALIZATION_FAILED"), SUSPECT),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if ..."), SUSPECT),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), OOM),
    (RuntimeError("run_func_( container_handle_ ...) at model_container_runner.cpp, line 145"), SUSPECT),
    (RuntimeError("NCCL error: ncclUnhandledCudaError: Call to CUDA function failed. out of memory"), DEAD),
    (foreign("torch.distributed.DistBackendError")("NCCL error, Cuda failure 'out of memory'"), DEAD),
    (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB, max allowed: 9 GB)"), OOM),
    (RuntimeError("Invalid buffer size: 24.00 GB"), SIZE),
    (TorchOom("XPU out of memory. Tried to allocate 2.00 GiB"), OOM),
    (RuntimeError("XPU out of memory. Tried to allocate 2.00 GiB"), OOM),
    (RuntimeError("Native API failed: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"), OOM),
    (RuntimeError("Native API failed: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)"), OOM),
    (TorchOom("UR error 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)"), SUSPECT),
    (RuntimeError("Allocation is out of device memory on current platform."), SUSPECT),
    (RuntimeError("level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"), DEAD),
    (RuntimeError("[Rank:0] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::1048576"), OOM),
    (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        OOM,
    ),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory"), OOM),
    (CupyOom("Out of memory allocating 1,024 bytes (allocated so far: 0 bytes)."), OOM),
    (CudaRuntime("cudaErrorMemoryAllocation: out of memory"), OOM),
    (with_status(CudaRuntime, "localised text", status=2), OOM),
    (with_status(CudaDriver, "CUDA_ERROR_OUT_OF_MEMORY: out of memory", status=2), OOM),
    (foreign("cupy_backends.cuda.libs.cublas.CUBLASError")("CUBLAS_STATUS_ALLOC_FAILED"), OOM),
    (foreign("cupy_backends.cuda.libs.cusolver.CUSOLVERError")("CUSOLVER_STATUS_ALLOC_FAILED"), OOM),
    (foreign("cupy_backends.cuda.libs.cusparse.CuSparseError")("CUSPARSE_STATUS_ALLOC_FAILED: x"), OOM),
    (foreign("cupy_backends.cuda.libs.curand.CURANDError")("CURAND_STATUS_ALLOCATION_FAILED"), OOM),
    (foreign("cupy.cuda.cufft.CuFFTError")("CUFFT_ALLOC_FAILED"), OOM),
    (MemoryError("std::bad_alloc: out_of_memory: CUDA error at: cuda_memory_resource.hpp"), OOM),
    (MemoryError("std::bad_alloc: CUDA error at: device_memory_resource.hpp"), SUSPECT),
    (numpy_error(), OOM),
    (MemoryError(), OOM),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), OOM),
    (numpy_size_error((1 << 40, 1 << 40)), SIZE),
    (numpy_size_error((1 << 63,)), SIZE),
    (RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904, 2]"), SIZE),
    (RuntimeError("nonzero is not supported for tensors with more than INT_MAX elements"), SIZE),
    (RuntimeError("Expected canUse32BitIndexMath(input) && ... to be true, but got false."), SIZE),
    (RuntimeError("CUDA error: invalid configuration argument"), SUSPECT),
    (CudaRuntime("cudaErrorInvalidConfiguration: invalid configuration argument"), SUSPECT),
    (foreign("tensorflow.python.framework.errors_impl.ResourceExhaustedError", Exception)("OOM"), OOM),
    (foreign("jaxlib.xla_extension.XlaRuntimeError")("RESOURCE_EXHAUSTED: Out of memory allocating"), OOM),
    (MemoryError("ResourceExhaustedError: Out of memory error on GPU 0"), OOM),
    (RuntimeError("ResourceExhaustedError: Out of memory error on GPU 0"), OOM),
    (Accelerator("CUDA error: an illegal memory access was encountered"), DEAD),
    (RuntimeError("CUDA error: device-side assert triggered"), DEAD),
    (RuntimeError("CUDA error: unspecified launch failure"), DEAD),
    (RuntimeError("CUDA error: misaligned address"), DEAD),
    (RuntimeError("device lost"), DEAD),
    (RuntimeError("CUDA error: device-side assertion"), DEAD),
    (RuntimeError("CUDA error: an illegal instruction was encountered"), DEAD),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), DEAD),
    (CudaRuntime("cudaErrorIllegalAddress"), DEAD),
    (CudaRuntime("cudaErrorAssert: device-side check"), DEAD),
    (CudaRuntime("cudaErrorLaunchFailure: x"), DEAD),
    (CudaRuntime("cudaErrorMisalignedAddress: x"), DEAD),
    (RuntimeError("cudaErrorInvalidConfiguration"), SUSPECT),
    (RuntimeError("cusolver error: CUSOLVER_STATUS_NOT_INITIALIZED"), SUSPECT),
    (RuntimeError("Allocation on device 0 would exceed allowed memory. (out of memory)"), OOM),
    (with_status(CudaRuntime, "text", status=700), DEAD),
    (with_status(Accelerator, "text", error_code=719), DEAD),
    (ValueError("expected 3 rows, got 4"), OTHER),
    (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), OTHER),
    (RuntimeError("illegal argument in memory access pattern"), OTHER),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OTHER),
    (KeyError("memory"), OTHER),
    (OSError(errno.ENOSPC, "No space left on device"), OTHER),
    (with_status(ValueError, "not a runtime error", status=2), OTHER),
]


@pytest.mark.parametrize(
    ("error", "kind"), ROWS, ids=[f"{number}-{kind.value}" for number, (_, kind) in enumerate(ROWS)]
)
def test_row(error: Exception, kind: FailureKind) -> None:
    assert classify(error) is kind


@pytest.mark.case(67)
@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, AssertionError, foreign("model.BudgetError", Exception)]
)
def test_an_error_of_the_function_that_speaks_of_memory_is_its_own(kind: type[Exception]) -> None:
    for error, meaning in ROWS:
        numpys = meaning is SIZE and kind is ValueError
        assert classify(kind(str(error))) is (SIZE if numpys else OTHER), error


@pytest.mark.case(67)
def test_numbas_error_is_known_though_it_is_no_runtime_error() -> None:
    CudaApi = foreign("numba.cuda.CudaAPIError", Exception)
    assert classify(CudaApi("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")) is OOM


def test_every_rule_is_reached_by_some_row() -> None:
    from microbatch_backends.failures.classify import _facts

    reached = {next((rule for rule in RULES if rule.matches(_facts(error))), None) for error, _ in ROWS}
    assert [rule for rule in RULES if rule not in reached] == []


def test_the_cause_counts() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError as oom:
            raise ValueError("layer 3 failed") from oom
    except ValueError as error:
        assert classify(error) is OOM


def test_what_was_being_handled_inside_the_step_counts() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError:
            {}["clean-up failed"]
    except KeyError as error:
        assert classify(error) is OOM


def test_a_context_that_was_suppressed_does_not_count() -> None:
    try:
        try:
            raise TorchOom("CUDA out of memory")
        except RuntimeError:
            raise ValueError("something else") from None
    except ValueError as error:
        assert classify(error) is OTHER


def test_what_the_caller_was_handling_before_the_step_does_not_count() -> None:
    def step() -> FailureKind:
        try:
            raise ValueError("the function's own error")
        except ValueError as error:
            assert isinstance(error.__context__, MemoryError)
            return classify(error)

    try:
        raise MemoryError
    except MemoryError:
        assert step() is OTHER


def test_an_error_inside_a_step_counts_though_the_caller_handles_another() -> None:
    def step() -> FailureKind:
        try:
            try:
                raise MemoryError
            except MemoryError:
                raise ValueError("in the function's handler")
        except ValueError as error:
            return classify(error)

    try:
        raise KeyError("the caller's")
    except KeyError:
        assert step() is OOM


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupts_are_never_retried(kind: type[BaseException]) -> None:
    error = kind()
    error.__cause__ = MemoryError()
    assert classify(error) is OTHER
    assert classify(BaseExceptionGroup("", [MemoryError(), error])) is OTHER


def test_a_dead_device_wins_wherever_it_is_in_the_chain() -> None:
    error = TorchOom("CUDA out of memory")
    error.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert classify(error) is DEAD


leaves = st.sampled_from(
    [
        (MemoryError(), OOM),
        (RuntimeError("Invalid buffer size: 1"), SIZE),
        (RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"), SUSPECT),
        (RuntimeError("device lost"), DEAD),
        (ValueError("own"), OTHER),
    ]
)
SEVERITY = (DEAD, OTHER, SUSPECT, OOM, SIZE)


@given(members=st.lists(leaves, min_size=1, max_size=4), depth=st.integers(0, 3))
def test_a_group_may_be_retried_only_if_all_its_members_may(
    members: list[tuple[Exception, FailureKind]], depth: int
) -> None:
    group = ExceptionGroup("several", [error for error, _ in members])
    for _ in range(depth):
        group = ExceptionGroup("outer", [group])
    assert classify(group) is min((kind for _, kind in members), key=SEVERITY.index)


@given(
    links=st.lists(
        st.tuples(st.sampled_from(["cause", "context"]), st.integers(0, 4)), min_size=5, max_size=5
    ),
    oom=st.integers(0, 4),
)
def test_cycles_end(links: list[tuple[str, int]], oom: int) -> None:
    errors: list[Exception] = [ValueError(str(number)) for number in range(5)]
    errors[oom] = MemoryError()
    for error, (way, target) in zip(errors, links, strict=True):
        object.__setattr__(error, f"__{way}__", errors[target])
    reached, here = set(), 0
    while here not in reached:
        reached.add(here)
        here = links[here][1]
    assert classify(errors[0]) is (OOM if oom in reached else OTHER)


def test_an_exception_without_a_text_is_read_by_its_type() -> None:
    class Mute(MemoryError):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert classify(Mute()) is OOM
