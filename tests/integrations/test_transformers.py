"""Models of transformers, with tiny random weights: cut, they give what the plain call gives, type included.

Twelve kinds: encoders, decoders with and without a cache, an encoder with a decoder, vision, audio, heads for
sequences and tokens, masks, tuples, and outputs inside of outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import microbatch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.torch

ROWS = 24
SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GPT = {"vocab_size": 100, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
T5 = {"vocab_size": 100, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
IMAGE = {**SIZES, "image_size": 16, "patch_size": 8}
DISTIL = {"vocab_size": 100, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32}
AUDIO = {
    **SIZES,
    "conv_dim": (16, 16),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def texts(rows: int) -> Any:
    """Token numbers and a mask, as a tokenizer gives them."""
    ids = torch.randint(5, 90, (rows, 9))
    mask = torch.ones_like(ids)
    mask[::3, 6:] = 0
    return transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask})


def with_decoder(rows: int) -> dict[str, Any]:
    """The same, and what a decoder begins with."""
    return {**texts(rows), "decoder_input_ids": torch.randint(5, 90, (rows, 4))}


def images(rows: int) -> dict[str, Any]:
    """Pictures."""
    return {"pixel_values": torch.randn(rows, 3, 16, 16)}


def sounds(rows: int) -> dict[str, Any]:
    """Waves."""
    return {"input_values": torch.randn(rows, 400)}


def as_tuple(rows: int) -> dict[str, Any]:
    """Texts, and a switch that asks for a tuple."""
    return {**texts(rows), "return_dict": False}


MODELS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "encoder": (lambda: made("BertModel", "BertConfig", SIZES), texts),
    "sequence classes": (lambda: made("BertForSequenceClassification", "BertConfig", SIZES), texts),
    "token classes": (lambda: made("BertForTokenClassification", "BertConfig", SIZES), texts),
    "tuple": (lambda: made("BertModel", "BertConfig", SIZES), as_tuple),
    "outputs in outputs": (
        lambda: made(
            "BertModel",
            "BertConfig",
            {
                **SIZES,
                "output_hidden_states": True,
                "output_attentions": True,
                "attn_implementation": "eager",
            },
        ),
        texts,
    ),
    "other encoder": (
        lambda: made(
            "DistilBertModel",
            "DistilBertConfig",
            {"vocab_size": 100, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32},
        ),
        texts,
    ),
    "decoder": (lambda: made("GPT2Model", "GPT2Config", {**GPT, "use_cache": False}), texts),
    "decoder with a cache": (lambda: made("GPT2Model", "GPT2Config", GPT), texts),
    "other decoder": (
        lambda: made(
            "LlamaForCausalLM", "LlamaConfig", {**SIZES, "num_key_value_heads": 2, "use_cache": False}
        ),
        texts,
    ),
    "encoder and decoder": (
        lambda: made("T5ForConditionalGeneration", "T5Config", {**T5, "use_cache": False}),
        with_decoder,
    ),
    "vision": (
        lambda: made("ViTModel", "ViTConfig", IMAGE),
        images,
    ),
    "audio": (lambda: made("Wav2Vec2Model", "Wav2Vec2Config", AUDIO), sounds),
}


def made(model: str, config: str, sizes: dict[str, Any]) -> Any:
    """A model with random weights, in evaluation mode."""
    return getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()


@pytest.fixture(autouse=True)
def _quiet_and_alike() -> Iterator[None]:
    """The same weights and rows each time, on one thread, as the machine has other work."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def same(first: Any, second: Any, path: str = "output") -> None:
    """Both have one type, and what they hold is equal to rounding."""
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5, msg=lambda text: f"{path}: {text}")
    elif hasattr(first, "items"):
        assert list(first) == list(second), path
        for key in first:
            same(first[key], second[key], f"{path}[{key!r}]")
    elif isinstance(first, (tuple, list)):
        assert len(first) == len(second), path
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            same(one, other, f"{path}[{place}]")
    elif hasattr(first, "__dict__"):
        same(vars(first), vars(second), path)
    else:
        assert first == second, path


@dataclass
class Narrow:
    """A model whose memory runs out beyond 8 rows."""

    model: Any

    def __call__(self, **inputs: Any) -> Any:
        rows = next(len(value) for value in inputs.values() if isinstance(value, torch.Tensor))
        if rows > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.model(**inputs)


@pytest.mark.parametrize("kind", MODELS)
def test_in_parts_a_model_gives_what_it_gives_whole(kind: str) -> None:
    """In parts that were asked for, and where memory runs out."""
    make, inputs = MODELS[kind]
    model, given = make(), inputs(ROWS)
    plain = model(**given)
    with microbatch.wrap(model, policy="fixed", num_ubatches=3) as wrapped:
        same(wrapped(**given), plain)
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (8, 8, 8)
    with microbatch.wrap(Narrow(model)) as wrapped:
        same(wrapped(**given), plain)
        assert wrapped.last_report is not None and wrapped.last_report.oom_sizes


@pytest.mark.parametrize("kind", ["encoder", "outputs in outputs", "vision"])
def test_a_large_batch_is_cut_by_default(kind: str) -> None:
    """With nothing said; the warm calls find sizes below the whole batch."""
    make, inputs = MODELS[kind]
    model, given = make(), inputs(2048)
    plain, sizes = model(**given), set()
    with microbatch.wrap(model) as wrapped:
        for _ in range(6):
            same(wrapped(**given), plain)
            assert wrapped.last_report is not None
            sizes.add(len(wrapped.last_report.sizes))
    assert max(sizes) > 1


def test_an_encoding_goes_in_and_out_as_it_is() -> None:
    """As the only argument, and as the result: with what it has beside its tensors."""
    model, given = MODELS["encoder"][0](), texts(ROWS)

    def function(encoding: Any) -> Any:
        found = model(**encoding).last_hidden_state
        return transformers.BatchEncoding({"found": found, "mask": encoding["attention_mask"]})

    with microbatch.wrap(function, policy="fixed", num_ubatches=3) as wrapped:
        same(wrapped(given), function(given))
