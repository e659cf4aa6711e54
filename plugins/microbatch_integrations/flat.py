"""Texts as one long row of tokens, with attention within each text: nothing is padded.

Invariant: used only where a few of the very texts (the shortest, the middle, the longest) have come out as
the model's own `encode` gives them; whatever a model has that this knows nothing of (sliding windows, shared
key heads, positions of its own) raises or differs there, and then its own `encode` is used. The model's
attention is another one while texts are encoded, and does what it did for whoever else calls it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

ATTENTION = "microbatch_per_text"
"""Name of the attention, as transformers knows it."""
KNOWN = frozenset({"normalize_embeddings", "truncate_dim"})
"""Options of `encode` that are followed here; any other one leaves it to the model."""
CLOSE = 1e-4
"""Largest difference from the model's own vectors, as a share of their largest value."""
Encoder = Callable[[list[str], "np.ndarray"], "np.ndarray"]


def flat_encoder(
    stack: ExitStack, model: Any, texts: list[str], lengths: np.ndarray, options: dict[str, Any]
) -> Encoder | None:
    """What encodes a part so, until `stack` is closed; None where the model must do it itself."""
    if str(getattr(model, "device", "")) != "cpu" or not set(options) <= KNOWN:
        return None
    if getattr(model, "default_prompt_name", None) is not None:
        return None
    try:
        with ExitStack() as trying:
            backbone = model[0].auto_model
            trying.callback(backbone.set_attn_implementation, backbone.config._attn_implementation)
            _register(backbone.config._attn_implementation)
            backbone.set_attn_implementation(ATTENTION)
            order = lengths.argsort()
            few = [texts[row] for row in (order[0], order[len(order) // 2], order[-1], order[-1])]
            for first in (0, _padding(backbone) + 1):
                encoder = _encoder(model, first, options)
                if _agrees(encoder, model, few, lengths, options):
                    stack.push(trying.pop_all())
                    return encoder
    except Exception:  # noqa: BLE001 - of a model that is not like this; its own encode says what is wrong
        return None
    return None


def _encoder(model: Any, first: int, options: dict[str, Any]) -> Encoder:
    """Encodes texts whose positions count from `first`."""

    def encoder(texts: list[str], lengths: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            vectors = torch.cat(_vectors(model, texts, first))
            if (
                dimensions := options.get("truncate_dim") or getattr(model, "truncate_dim", None)
            ) is not None:
                vectors = vectors[:, :dimensions]
            if options.get("normalize_embeddings"):
                vectors = torch.nn.functional.normalize(vectors)
            return vectors.numpy()

    return encoder


def _vectors(model: Any, texts: list[str], first: int) -> list[torch.Tensor]:
    """The vectors of each run of texts that have equally many tokens."""
    import torch

    asked = {"padding": False, "truncation": True, "max_length": model.max_seq_length, "verbose": False}
    ids = model.tokenizer(texts, **asked)["input_ids"]
    counts = [len(one) for one in ids]
    runs = [(len(list(same)), length) for length, same in groupby(counts)]
    positions = torch.cat([torch.arange(first, first + count) for count in counts])[None]
    tokens = torch.tensor([list(chain.from_iterable(ids))])
    hidden = model[0].auto_model(input_ids=tokens, position_ids=positions, runs=runs)[0][0]
    parts, start = [], 0
    for rows, length in runs:
        stop = start + rows * length
        inner = hidden[start:stop].unflatten(0, (rows, length))
        features = {"token_embeddings": inner, "attention_mask": torch.ones(rows, length, dtype=torch.long)}
        for module in list(model)[1:]:
            features = module(features)
        parts.append(features["sentence_embedding"])
        start = stop
    return parts


def _agrees(
    encoder: Encoder, model: Any, few: list[str], lengths: np.ndarray, options: dict[str, Any]
) -> bool:
    """Whether a few texts have the vectors that the model gives them one at a time."""
    import numpy as np

    own = np.stack([model.encode(text, show_progress_bar=False, **options) for text in few])
    return bool(np.abs(encoder(few, lengths) - own).max() <= CLOSE * np.abs(own).max())


def _padding(backbone: Any) -> int:
    found = getattr(backbone.config, "pad_token_id", None)
    return found if isinstance(found, int) else 0


def _register(before: str) -> None:
    """Have transformers know the attention; for calls without runs it is the one that the model had."""
    import torch

    interface: Any = import_module("transformers").AttentionInterface
    plain = interface()[before]

    def per_text(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Any,
        *,
        runs: Any = None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **rest: Any,
    ) -> Any:
        """Attention within each text of [1, heads, tokens, size]."""
        if runs is None:
            return plain(module, query, key, value, mask, scaling=scaling, **rest)
        if sliding_window is not None or softcap is not None or key.shape[1] != query.shape[1]:
            raise NotImplementedError("attention of a kind that is not known here")
        causal, parts, start = bool(getattr(module, "is_causal", False)), [], 0
        for rows, length in runs:
            stop = start + rows * length
            split: list[Any] = [x[0, :, start:stop] for x in (query, key, value)]
            q, k, v = (x.unflatten(1, (rows, length)).transpose(0, 1) for x in split)
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scaling)
            parts.append(out.transpose(1, 2).flatten(0, 1))
            start = stop
        return torch.cat(parts)[None], None

    interface.register(ATTENTION, per_text)
