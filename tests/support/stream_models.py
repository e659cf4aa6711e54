"""Models with streams of their own to order, which the simulated torch device runs.

Invariant: each is made from a seed, with random weights, and its rows are independent; on the host it gives
what it gives on the device. Yield points are where an engine has them: around communication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from microbatch import dbo

WIDTH, TOKENS, EXPERTS = 8, 4, 3
SIZES = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "pad_token_id": 0,
}  # fmt: skip
GPT = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamModel:
    """One model and what it is given."""

    make: Callable[[], nn.Module]
    """Makes it, on the host."""
    batch: Callable[[int], Mapping[str, Tensor]]
    """Arguments of so many rows, on the host."""


class Layers(nn.Module):
    """A small network that communicates between its layers, as tensor parallelism does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """x: [rows, width], the same shape out."""
        for layer in self.layers:
            h = torch.nn.functional.gelu(layer(x))
            dbo.dbo_yield_and_switch_from_compute_to_comm("reduce")
            gathered = h.clone()
            del h
            dbo.dbo_yield_and_switch_from_comm_to_compute("reduced")
            x = x + gathered
        dbo.dbo_switch_to_comm_sync()
        sent = x * 1
        del x
        dbo.dbo_switch_to_compute_sync()
        return sent + 0


class Experts(nn.Module):
    """Self-attention, a router, and experts between two all-to-alls on the communication stream."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
            for _ in range(EXPERTS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [rows, tokens, width], the same shape out."""
        h = x + self.attention(x, x, x, need_weights=False)[0]
        flat = h.reshape(-1, WIDTH)
        gate, chosen = self.router(flat).softmax(-1).max(-1)
        order = chosen.argsort(stable=True)
        labels, sent = chosen[order], flat[order]
        dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
        arrived = sent.clone()
        del sent
        dbo.dbo_yield_and_switch_from_comm_to_compute("dispatched")
        done = torch.zeros_like(arrived)
        for index, expert in enumerate(self.experts):
            done = done + expert(arrived) * (labels == index)[:, None]
        dbo.dbo_yield_and_switch_from_compute_to_comm("combine")
        back = done.clone()
        del done
        dbo.dbo_yield_and_switch_from_comm_to_compute("combined")
        mixed = torch.empty_like(flat)
        mixed[order] = back * gate[order, None]
        return h + mixed.reshape(h.shape)


class Prefetching(nn.Module):
    """Begins with communication, which waits for no compute; what that made is dropped once it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """x: [rows, width], the same shape out."""
        dbo.dbo_switch_to_comm()
        fetched = x * 2
        dbo.dbo_switch_to_compute_sync()
        result = self.layer(fetched) + fetched
        del fetched
        return result


def vectors(rows: int) -> Mapping[str, Tensor]:
    """Rows of numbers."""
    return {"x": torch.randn(rows, WIDTH)}


def sequences(rows: int) -> Mapping[str, Tensor]:
    """Rows of tokens that are vectors."""
    return {"x": torch.randn(rows, TOKENS, WIDTH)}


def texts(rows: int) -> Mapping[str, Tensor]:
    """Token numbers and a mask."""
    mask = torch.ones(rows, TOKENS, dtype=torch.int64)
    mask[::3, 3:] = 0
    return {"input_ids": torch.randint(3, 40, (rows, TOKENS)), "attention_mask": mask}


def bert() -> nn.Module:
    """A BERT of two layers."""
    import transformers

    return transformers.BertModel(transformers.BertConfig(**SIZES))


def gpt2() -> nn.Module:
    """A GPT-2 of two layers, without a cache."""
    import transformers

    return transformers.GPT2Model(transformers.GPT2Config(**GPT, use_cache=False))


class Hidden(nn.Module):
    """The last hidden state of a model of transformers, told to the siblings of its ubatch between layers."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.model = make()
        for part in self.model.modules():
            if type(part).__name__ in ("BertLayer", "GPT2Block"):
                part.register_forward_hook(self._communicate)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token numbers and mask in, [rows, tokens, width] out."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    @staticmethod
    def _communicate(module: nn.Module, given: Any, result: Any) -> Any:
        hidden = result[0] if isinstance(result, tuple) else result
        dbo.dbo_yield_and_switch_from_compute_to_comm("reduce")
        sent = hidden.clone()
        del hidden
        dbo.dbo_yield_and_switch_from_comm_to_compute("reduced")
        return (sent, *result[1:]) if isinstance(result, tuple) else sent


MODELS: Mapping[str, StreamModel] = MappingProxyType(
    {
        "layers": StreamModel(make=Layers, batch=vectors),
        "experts": StreamModel(make=Experts, batch=sequences),
        "prefetching": StreamModel(make=Prefetching, batch=vectors),
        "bert": StreamModel(make=lambda: Hidden(bert), batch=texts),
        "gpt2": StreamModel(make=lambda: Hidden(gpt2), batch=texts),
    }
)
"""Name -> model; the last two need transformers."""


def on_host(name: str, rows: int) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """The model in evaluation, a batch, and what it gives on the host."""
    torch.manual_seed(0)
    model = MODELS[name].make().eval()
    batch = dict(MODELS[name].batch(rows))
    with torch.inference_mode():
        return model, batch, model(**batch)
