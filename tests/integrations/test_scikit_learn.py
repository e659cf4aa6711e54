"""scikit-learn on many rows at once: neighbours, texts to sparse rows, a frame in and a frame out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3}
DRAW = np.random.default_rng(0)


def test_neighbours() -> None:
    """Distances and places, in a tuple."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=3).fit(DRAW.random((50, 4)))
    x = DRAW.random((40, 4))
    with microbatch.wrap(found.kneighbors, **PARTS) as wrapped:
        for one, other in zip(wrapped(x), found.kneighbors(x), strict=True):
            np.testing.assert_array_equal(one, other)
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (14, 13, 13)


def test_texts_to_sparse_rows_and_on_to_classes() -> None:
    """Term frequencies of texts, and what a model says of them: sparse in and out."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB

    words = ["rows", "of", "many", "texts", "go", "in", "parts"]
    texts = [" ".join(DRAW.choice(words, 5)) for _ in range(40)]
    terms = TfidfVectorizer().fit(texts)
    with microbatch.wrap(terms.transform, **PARTS) as wrapped:
        result, plain = wrapped(texts), terms.transform(texts)
    assert (type(result), result.format, result.dtype) == (type(plain), plain.format, plain.dtype)
    assert (result != plain).nnz == 0
    model = MultinomialNB().fit(plain, np.arange(40) % 3)
    with microbatch.wrap(model.predict_proba, **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(plain), model.predict_proba(plain), rtol=1e-12)
    with microbatch.wrap(model.predict, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(plain), model.predict(plain))


def test_a_frame_in_and_a_frame_out() -> None:
    """A pipeline that answers with a frame: its columns and the index of the input."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    frame = pandas.DataFrame(
        DRAW.random((40, 3)), columns=["a", "b", "c"], index=[f"r{i % 9}" for i in range(40)]
    )
    steps = make_pipeline(StandardScaler(), MinMaxScaler()).set_output(transform="pandas").fit(frame)
    with microbatch.wrap(steps.transform, **PARTS) as wrapped:
        pandas.testing.assert_frame_equal(wrapped(frame), steps.transform(frame))
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (14, 13, 13)


def test_labels_of_any_width() -> None:
    """Classes are texts: a part in which the longest is missing has narrower ones."""
    from sklearn.neighbors import KNeighborsClassifier

    x = DRAW.random((40, 2))
    names = np.array(["a", "bb", "a class with a long name"])[(x[:, 0] * 3).astype(int)]
    model = KNeighborsClassifier(1).fit(x, names)
    function = lambda x: np.array(model.predict(x).tolist())
    with microbatch.wrap(function, **PARTS) as wrapped:
        result, plain = wrapped(x), function(x)
    assert result.dtype == plain.dtype
    np.testing.assert_array_equal(result, plain)
