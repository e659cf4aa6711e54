"""The fields of a ubatch from torch tensors equal those from NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape
from microbatch.metadata import make_ubatch_metadata, query_start_loc_from
from microbatch.turns.context import UBatchContext

torch = pytest.importorskip("torch", reason="compares with torch tensors")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 12))
def test_tensors_and_arrays_agree(queries: list[int], limit: int) -> None:
    offsets = query_start_loc_from(queries, np.int32)
    fields = {
        "query_start_loc": offsets,
        "seq_lens": np.array(queries, np.int32) + 5,
        "num_computed_tokens": np.full(len(queries), 5, np.int32),
        "positions": np.arange(3 * offsets[-1]).reshape(3, -1),
    }
    tensors = {name: torch.from_numpy(array.copy()) for name, array in fields.items()}
    shape = BatchShape(num_tokens=int(offsets[-1]), num_requests=len(queries), query_start_loc=offsets)
    for part in cut(shape, limit=limit).slices:
        ours = make_ubatch_metadata(UBatchContext(part), **fields)
        theirs = make_ubatch_metadata(UBatchContext(part), **tensors)
        assert ours.max_query_len == theirs.max_query_len and ours.max_seq_len == theirs.max_seq_len
        for name, field in fields.items():
            tensor = getattr(theirs, name)
            assert tensor.dtype == tensors[name].dtype
            assert np.array_equal(tensor.numpy(), getattr(ours, name))
            assert torch.equal(tensors[name], torch.from_numpy(field))
