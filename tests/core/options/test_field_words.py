"""Who writes what another library calls it is told what it is called here, with the value in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentValueError, ConfigError, UnknownNameError
from microbatch.options.field_words import _MEANT, BACKENDS, SCHEDULES
from microbatch.options.fields import FIELDS, UBatchConfig
from microbatch.options.fields import SCHEDULES as KNOWN_SCHEDULES
from microbatch.options.unknown_variables import unknown_variables

WORDS = [
    (
        {"batch_size": 32},
        "the size of a part is max_tokens_per_ubatch here, so write max_tokens_per_ubatch=32",
    ),
    ({"micro_batch_size": np.int64(8)}, "max_tokens_per_ubatch here"),
    ({"chunk_size": 1000}, "so write max_tokens_per_ubatch=1000"),
    ({"max_batch_size": 16}, "so write max_tokens_per_ubatch=16"),
    ({"batch_size": "auto"}, "or leave it out to have it found"),
    ({"num_chunks": 4}, "so write num_ubatches=4"),
    ({"n_jobs": 2}, "the number of threads is thread_pool_size here, so write thread_pool_size=2"),
    ({"n_jobs": -1}, "write a number from 1, or leave it out"),
    ({"num_workers": 4}, "so write thread_pool_size=4"),
    ({"threads": 4}, "so write thread_pool_size=4"),
    ({"max_memory": 0.4}, "so write memory_limit='40%'"),
    ({"max_memory": 24}, "so write memory_limit='24GiB'"),
    ({"gpu_memory_utilization": 0.9}, "so write memory_limit='90%'"),
    ({"device": "cuda"}, "the device is that of the inputs here"),
    ({"cuda": True}, "or write backend='torch-cuda'"),
    ({"gpu": 0}, "move the model and them there"),
    ({"show_progress_bar": True}, "so write progress=True"),
    ({"timeout": 5}, "so write barrier_timeout=5"),
    ({"cuda_graph_sizes": [8, 16]}, "so write graph_sizes=[8, 16]"),
    ({"axis": 1}, "layout=microbatch.Layout(inputs={'x': microbatch.tokens(1)})"),
    ({"prefetch_factor": 2}, "so write schedule='streamed'"),
    ({"num_ubatch": 2}, "did you mean 'num_ubatches'?"),
    ({"progres": True}, "did you mean 'progress'?"),
    ({"backend": "cuda"}, "write 'torch-cuda' for tensors, 'cupy' for arrays of CuPy, or 'auto'"),
    ({"backend": "cuda:0"}, "write 'torch-cuda' for tensors"),
    ({"backend": "GPU"}, "or 'auto', which goes by the inputs"),
    ({"backend": "torch"}, "write 'torch-cpu' or 'torch-cuda'"),
    ({"backend": "torch-cpuu"}, "did you mean 'torch-cpu'?"),
    ({"schedule": "async"}, "that is 'pingpong' here"),
    ({"schedule": "threads"}, "that is 'parallel' here"),
    ({"schedule": "paralel"}, "did you mean 'parallel'?"),
]


@pytest.mark.parametrize(("options", "told"), WORDS)
def test_the_words_of_the_field(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownNameError) as caught, microbatch.wrap(np.copy, **options) as wrapped:
        wrapped(np.arange(4))
    text = str(caught.value)
    assert told in text
    assert "\n" not in text
    assert text[0].islower()


def test_what_is_told_to_write_can_be_written() -> None:
    values = {"memory_limit": "'40%'", "barrier_timeout": "5", "graph_sizes": "(8,)"}
    for written in _MEANT:
        option = written.partition("=")[0]
        text = written.format(values.get(option, "2"))
        made = eval(f"dict({text})", {"microbatch": microbatch})
        microbatch.wrap(np.copy, **made).shutdown()
    assert set(SCHEDULES.values()) <= set(KNOWN_SCHEDULES)
    known = {info.name for info in microbatch.backends()}
    assert all(
        name.strip("'") in known for text in BACKENDS.values() for name in text.split() if name[0] == "'"
    )


def test_no_word_is_an_option_or_means_two_things() -> None:
    words = [word for _, text in _MEANT.values() for word in text.split()]
    assert len(words) == len(set(words))
    assert not set(words) & set(FIELDS)


def test_files_and_variables_are_told_too(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "microbatch.toml").write_text("batch_size = 32")
    with pytest.raises(ConfigError, match=r"batch_size.*write max_tokens_per_ubatch=32"):
        microbatch.wrap(np.copy)
    (text,) = unknown_variables(["MICROBATCH_NUM_WORKERS"])
    assert "thread_pool_size" in text


def test_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert UBatchConfig(memory_limit="40 %").memory_limit == "40%"
    assert UBatchConfig(memory_limit="12.5%").memory_limit == "12.5%"
    for wrong in ("0%", "101%", "%", "-5%", "nan%"):
        with pytest.raises(ArgumentValueError, match=r"memory_limit: .*is no share"):
            UBatchConfig(memory_limit=wrong)
    with pytest.raises(TypeError, match="a share as text: '40%'"):
        UBatchConfig(memory_limit=0.4)  # type: ignore[arg-type]
    monkeypatch.setenv("MICROBATCH_MEMORY_LIMIT", "40%")
    with microbatch.wrap(np.copy) as wrapped:
        assert wrapped.microbatch.options.memory_limit == "40%"
        wrapped(np.arange(9.0))
        request, _ = wrapped._engine.planner._last_request
        assert request.memory_limit == int(request.memory.capacity * 40 / 100)
