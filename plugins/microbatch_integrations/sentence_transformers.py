"""`SentenceTransformer.encode` as micro-batches: texts sorted by length, and nothing padded.

    from microbatch_integrations.sentence_transformers import encode
    vectors = encode(model, texts)

Invariant: the result is that of `model.encode(texts, ...)`, in its order and of its type. A part holds texts
of about the same length. On a CPU their tokens stand behind one another in one long row, so that nothing is
padded (`flat.py`), where that was shown to give the model's own vectors; else a part is one call of
`model.encode`, and only as wide as its longest text. So it is on other devices, where a long row gained
nothing (MiniLM in half precision: 0.44x).

Rejected: runs of exactly equal length, one call of `encode` each (three times the time where most texts have
a length of their own), and quantising in parts, as its ranges are of all vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import microbatch
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch_integrations.flat import flat_encoder

if TYPE_CHECKING:
    import numpy as np

_OURS = {
    "batch_size": "sizes are found here, so leave it out, or cap them with max_tokens_per_ubatch=",
    "show_progress_bar": "write progress=True",
    "pool": "this runs in one process; call model.encode for several",
    "chunk_size": "this runs in one process; call model.encode for several",
}
"""Options of `encode` that mean something else here, and what to do."""
AT_THE_END = ("precision", "convert_to_tensor", "convert_to_numpy")
"""Options that are of all vectors, and not of each."""
SMALL = 2
"""Texts up to which there is nothing to cut."""


def encode(
    model: Any,
    texts: Sequence[str],
    *,
    progress: Callable[[int, int], None] | bool | None = None,
    options: dict[str, Any] | None = None,
    **encode_options: Any,
) -> Any:
    """What `model.encode(texts, **encode_options)` returns, as micro-batches.

    `model` is a SentenceTransformer, or has its `encode` and `tokenizer`. `progress` and `options` (such as
    `{"memory_limit": "40%"}`) are those of `microbatch.wrap`. Raises ArgumentTypeError for what is no text,
    ArgumentValueError for options of `encode` that cannot be in parts; else what the model raises.
    """
    _check(encode_options)
    if isinstance(texts, str) or len(texts) < SMALL:
        return model.encode(texts, **encode_options)
    listed = _listed(texts)
    each = {name: value for name, value in encode_options.items() if name not in AT_THE_END}
    lengths = token_lengths(model, listed)
    model.eval()  # as its encode does; a model in training mode is not cut
    layout = microbatch.Layout(
        inputs={"texts": microbatch.tokens(), "lengths": microbatch.tokens()},
        outputs={"output": microbatch.tokens()},
        lengths=lambda args, kwargs: args[1],
    )
    told = None if progress is False else progress
    with ExitStack() as stack:
        encoder = flat_encoder(stack, model, listed, lengths, each) or _one_call(model, each)
        wrapped = microbatch.wrap(encoder, layout=layout, progress=told, **(options or {}))
        vectors = stack.enter_context(wrapped)(listed, lengths)
    return _finished(model, listed, vectors, encode_options)


def _one_call(model: Any, options: dict[str, Any]) -> Callable[[list[str], np.ndarray], np.ndarray]:
    """Encodes a part by the model's own `encode`, which pads it to its longest text."""

    def encoder(texts: list[str], lengths: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = model.encode(
            texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True, **options
        )
        return vectors

    return encoder


def token_lengths(model: Any, texts: list[str]) -> np.ndarray:
    """Tokens of each text, as many as the model takes; characters where it has no tokenizer."""
    import numpy as np

    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return np.array([max(1, len(text)) for text in texts])
    ids = tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]
    most = getattr(model, "max_seq_length", None) or max(map(len, ids))
    return np.array([max(1, min(len(one), int(most))) for one in ids])


def _check(options: dict[str, Any]) -> None:
    for name, remedy in _OURS.items():
        if name in options:
            raise ArgumentValueError(f"encode was given {name}; {remedy}")
    value = options.get("output_value", "sentence_embedding")
    if value != "sentence_embedding":
        raise ArgumentValueError(
            f"output_value is {value!r}, and parts give sentence embeddings; call model.encode"
        )
    if isinstance(options.get("device"), (list, tuple)):
        raise ArgumentValueError(
            "device is a list, and this runs in one process; call model.encode for several"
        )


def _listed(texts: Sequence[str]) -> list[str]:
    listed = list(texts)
    for row, text in enumerate(listed):
        if not isinstance(text, str):
            raise ArgumentTypeError(f"texts[{row}] is of type {type(text).__name__}; give texts")
    return listed


def _finished(model: Any, texts: list[str], vectors: Any, options: dict[str, Any]) -> Any:
    """The vectors as `encode` returns them with these options."""
    precision = options.get("precision", "float32")
    if precision and precision != "float32":
        quantisation: Any = import_module("sentence_transformers.util.quantization")
        vectors = quantisation.quantize_embeddings(vectors, precision=precision)
    if options.get("convert_to_tensor") or not options.get("convert_to_numpy", True):
        return _tensors(model, texts, vectors, options)
    return vectors


def _tensors(model: Any, texts: list[str], vectors: np.ndarray, options: dict[str, Any]) -> Any:
    """One tensor, or a list of them, with dtype and device as the model gives them for one text."""
    import torch

    whole = torch.from_numpy(vectors)
    like = model.encode(texts[:1], **{**options, "convert_to_tensor": True})
    if whole.is_floating_point():
        whole = whole.to(like.device, like.dtype)
    return whole if options.get("convert_to_tensor") else list(whole)
