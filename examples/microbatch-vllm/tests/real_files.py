"""vLLM's own two files, imported on a machine without a GPU: what they import is replaced by stubs.

Invariant: nothing of vLLM is in this repository. VLLM_FILES names the folder that `fetch.py` has
filled. Streams are names, events do nothing; tensors are torch's own, on the CPU.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

VARIABLE = "VLLM_FILES"
UBATCHING = "vllm.v1.worker.ubatching"
RUNNER = "vllm.v1.worker.gpu.ubatch_utils"
STUBBED = {
    "vllm.config": "CUDAGraphMode VllmConfig",
    "vllm.distributed": "get_dcp_group",
    "vllm.sequence": "IntermediateTensors",
    "vllm.v1.kv_cache_interface": "KVCacheConfig",
    "vllm.v1.worker.gpu.attn_utils": "build_slot_mappings_by_layer",
    "vllm.v1.worker.gpu.cp_utils": "prepare_dcp_local_seq_lens",
    "vllm.v1.worker.gpu.input_batch": "InputBatch",
    "vllm.v1.worker.gpu.model_states.interface": "ModelState",
    "vllm.v1.worker.utils": "AttentionGroup",
}
"""Module to the names that the runner imports and a step of ours does not use, or only as classes."""


def missing() -> str | None:
    """Why the files cannot be used; None if they can."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"{VARIABLE} is not set; tox -e vllm fetches vLLM's files and sets it"
    if not (Path(folder) / f"{UBATCHING.replace('.', '/')}.py").is_file():
        return f"{folder} does not hold vLLM's files; run tests/fetch.py {folder}"
    return None if importlib.util.find_spec("torch") else "torch is not installed"


@contextmanager
def loaded() -> Iterator[Any]:
    """The two modules, fresh, as `ubatching` and `runner`; in `sys.modules` while the block runs."""
    with mock.patch.dict(sys.modules, _stubs()):
        yield SimpleNamespace(ubatching=_load(UBATCHING), runner=_load(RUNNER))


class Stub:
    """A class of vLLM's that no step of ours makes an object of."""

    NONE = None


class RealRunner:
    """vLLM's V2 runner, with a forward context of ours for each ubatch."""

    def __init__(self, modules: Any, count: int) -> None:
        import torch

        settings = SimpleNamespace(
            num_ubatches=count, decode_context_parallel_size=1, cp_kv_cache_interleave_size=1
        )
        config = SimpleNamespace(parallel_config=settings)
        self.modules, self.count, self.torch = modules, count, torch
        self.runner = modules.runner.UBatchRunner(config, torch.device("cpu"), None, [], None, 8)

    def second_runner(self, bodies: Sequence[Callable[[], Any]]) -> list[Any]:
        """The outputs of a step, as a list."""
        finish = self.begin(bodies)
        return list(finish().tolist())

    def begin(self, bodies: Sequence[Callable[[], Any]], for_capture: bool = False) -> Callable[[], Any]:
        """Start the threads, and give what runs and joins them, as vLLM does around a capture."""
        torch, ubatching = self.torch, self.modules.ubatching

        def model(**_: Any) -> Any:
            return torch.tensor([bodies[ubatching.dbo_current_ubatch_id()]()])

        slices = [SimpleNamespace(token_slice=slice(index, index + 1)) for index in range(self.count)]
        contexts = [f"forward context {index}" for index in range(self.count)]
        state = self.modules.runner.UBatchState(slices, contexts)
        inputs = {"positions": torch.zeros(self.count)}
        finish: Callable[[], Any] = self.runner.begin_capturable_run(model, inputs, state, for_capture)
        return finish


def _load(name: str) -> ModuleType:
    path = Path(os.environ[VARIABLE]) / f"{name.replace('.', '/')}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    return module


def _stubs() -> dict[str, ModuleType]:
    """Everything that the two files import, torch included."""
    streams = threading.local()
    made = {name: _module(name, dict.fromkeys(names.split(), Stub)) for name, names in STUBBED.items()}
    forward = _module("vllm.forward_context", {"_forward_context": None})

    @contextmanager
    def override(context: object) -> Iterator[None]:
        former, forward._forward_context = forward._forward_context, context
        try:
            yield
        finally:
            forward._forward_context = former

    forward.override_forward_context = override
    for name in ("DPMetadata", "ForwardContext", "create_forward_context"):
        setattr(forward, name, object)
    made["vllm.forward_context"] = forward
    made["vllm.logger"] = _module("vllm.logger", {"init_logger": lambda name: mock.MagicMock()})
    current = {"current_stream": lambda: getattr(streams, "stream", "default")}
    made["vllm.utils.torch_utils"] = _module("vllm.utils.torch_utils", current)
    made["vllm.v1.worker.ubatch_utils"] = _module(
        "vllm.v1.worker.ubatch_utils",
        {
            "UBatchSlice": object,
            "UBatchSlices": list,
            "create_sm_control_context": lambda _: nullcontext(),
            "maybe_create_ubatch_slices": None,
        },
    )
    made["torch"] = _torch(streams)
    for name in [*made, UBATCHING, RUNNER]:
        while name := name.rpartition(".")[0]:
            made.setdefault(name, _module(name, {}))
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    return made


def _module(name: str, contents: dict[str, Any]) -> Any:
    module: Any = ModuleType(name)
    module.__path__ = []
    vars(module).update(contents)
    return module


def _torch(streams: threading.local) -> Any:
    """torch as it is, with streams and events that are only names."""
    import torch

    class Torch(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    stub: Any = Torch("torch")
    stub.Event = mock.MagicMock
    stub.accelerator = SimpleNamespace(set_device_index=lambda index: None)
    stub.cuda = SimpleNamespace(
        Stream=lambda device=None: mock.MagicMock(),
        set_stream=lambda stream: setattr(streams, "stream", stream),
        stream=lambda stream: nullcontext(),
        current_blas_handle=lambda: None,
    )
    return stub
