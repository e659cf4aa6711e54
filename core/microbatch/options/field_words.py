"""What other libraries call what an option here is called: an unknown name gets the option that was meant.

Invariant: one sentence says what the word is here and what to write, with the value that was given. A word
that is a slip of a name of ours gets the near match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from microbatch.errors import near_match
from microbatch.options.messages import shorten

_MEANT = {
    "max_tokens_per_ubatch={}": (
        "the size of a part",
        (
            "batch_size batchsize bs chunk_size chunksize micro_batch_size microbatch_size mini_batch_size "
            "minibatch_size max_batch_size max_size part_size block_size ubatch_size per_device_batch_size "
            "eval_batch_size rows max_rows rows_per_part num_rows max_tokens max_num_tokens token_budget "
            "max_num_batched_tokens size step_size window"
        ),
    ),
    "num_ubatches={}": (
        "the number of parts",
        (
            "chunks num_chunks n_chunks batches num_batches n_batches num_microbatches num_micro_batches "
            "n_microbatches micro_batches splits num_splits n_splits parts num_parts n_parts partitions "
            "gradient_accumulation_steps accumulation_steps accum_steps num_sections npartitions"
        ),
    ),
    "thread_pool_size={}": (
        "the number of threads",
        (
            "n_jobs jobs num_workers n_workers workers max_workers worker_count threads num_threads "
            "n_threads nthreads thread_count max_threads pool_size concurrency parallelism num_cpus"
        ),
    ),
    "memory_limit={}": (
        "the most memory of a step",
        (
            "max_memory memory mem mem_limit memory_fraction mem_fraction max_mem memory_budget "
            "gpu_memory_utilization max_memory_usage memory_share memory_threshold max_bytes vram"
        ),
    ),
    "barrier_timeout={}": ("how long a wait may take", "timeout timeout_s wait_timeout max_wait"),
    "progress=True": (
        "a bar",
        "show_progress show_progress_bar progress_bar progressbar bar tqdm verbose disable_tqdm",
    ),
    "schedule='streamed'": (
        "copying parts while others are computed",
        "pin_memory prefetch prefetch_factor double_buffer double_buffering num_streams streams async_copy",
    ),
    "schedule='pingpong'": (
        "ubatches that take turns",
        "dbo enable_dbo dual_batch dual_batch_overlap two_batch",
    ),
    "graphs=True": ("captured graphs", "cuda_graph cuda_graphs use_cuda_graph cudagraph cudagraphs capture"),
    "graph_sizes={}": (
        "the sizes that are captured",
        "cuda_graph_sizes cudagraph_capture_sizes capture_sizes",
    ),
    "shapes='few'": ("few sizes of parts", "dynamic static_shapes dynamic_shapes bucket buckets"),
    "splitter='packed'": (
        "sorting by length so that little is padded",
        "sort sort_by_length padding pad packing pack length_sort bucketing",
    ),
    "layout=microbatch.Layout(inputs={{'x': microbatch.tokens(1)}})": (
        "which axis has the rows",
        "axis axes dim dims batch_axis batch_dim chunk_dim in_axes in_dims out_dims split_dim",
    ),
    "layout=microbatch.Layout(inputs={{'mask': microbatch.replicate()}})": (
        "which arguments go to each part whole",
        "static static_argnums static_argnames broadcast broadcast_args in_specs non_batched replicated",
    ),
    "history='sizes.db'": (
        "a file that keeps what was learned",
        "cache cache_dir cache_path persist save_path",
    ),
    "verify='never'": ("cutting without trying it first", "check no_check safe unsafe trust validate"),
    "thread_safe=False": ("calls that never overlap", "lock locked exclusive not_thread_safe"),
}
"""What to write -> what it is, and the words for it elsewhere."""
_OF_THE_INPUTS = frozenset(
    (
        "device",
        "devices",
        "cuda",
        "gpu",
        "gpus",
        "use_cuda",
        "use_gpu",
        "device_map",
        "device_id",
        "accelerator",
    )
)
SMALL = 4096
"""A memory below it is meant in GiB, and not in bytes."""

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        word: "'torch-cuda' for tensors, 'cupy' for arrays of CuPy"
        for word in ("cuda", "gpu", "nvidia", "rocm", "hip", "amd")
    }
    | {word: "'torch-cpu' or 'torch-cuda'" for word in ("torch", "pytorch")}
    | dict.fromkeys(("numpy", "host", "np", "scipy"), "'cpu'")
    | dict.fromkeys(("intel", "sycl"), "'torch-xpu'")
)
"""What a device or framework is called -> the backends that are meant."""
_ORDERS = {
    "pingpong": "async overlap dbo dual dual_batch",
    "parallel": "threads threaded threading concurrent multithreaded",
    "sequential": "serial loop sync single",
    "streamed": "pipeline prefetch double_buffer double_buffering stream",
}
SCHEDULES: Mapping[str, str] = MappingProxyType(
    {word: name for name, words in _ORDERS.items() for word in words.split()}
)
"""What an order is called -> the schedule that is meant."""


def unknown_option(name: str, known: Iterable[str], value: object = None) -> str:
    """How the sentence on an option that does not exist goes on, from the semicolon."""
    word = name.lower().replace("-", "_")
    if word in _OF_THE_INPUTS:
        return (
            " the device is that of the inputs here, so move the model and them there (x.to('cuda')), "
            "or write backend='torch-cuda' to insist on it"
        )
    for written, (what, words) in _MEANT.items():
        if word in words.split():
            option = written.partition("=")[0]
            shown = _shown(option, value)
            if "{}" in written and not shown:
                return f" {what} is {option} here: write a number from 1, or leave it out to have it found"
            return f" {what} is {option} here, so write {written.format(shown)}"
    return near_match(name, known)


def backend_meant(name: str) -> str:
    """The backends that a word for a device means, as " write ..."; empty where it is no such word."""
    word = name.lower().partition(":")[0]
    meant = BACKENDS.get(word)
    return f" write {meant}, or 'auto', which goes by the inputs." if meant else ""


def schedule_meant(text: str) -> str:
    """The schedule that a word means, as a near match is told; empty where it is no such word."""
    meant = SCHEDULES.get(text.lower().replace("-", "_"))
    return f" that is {meant!r} here" if meant else ""


def _shown(option: str, value: object) -> str:
    """The value as it is to be written for `option`; empty where it is none for it (-1, "auto")."""
    if option == "memory_limit" and isinstance(value, (int, float)) and 0 < value < SMALL:
        return f"'{value:.0%}'" if value <= 1 else f"'{value:g}GiB'"
    if option == "memory_limit" and isinstance(value, str):
        return repr(shorten(value))
    if isinstance(value, (tuple, list)):
        return shorten(repr(value))
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return str(value) if number else ""
