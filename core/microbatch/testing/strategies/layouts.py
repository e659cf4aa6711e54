"""Layouts: which field of a call is what.

Invariant: a drawn layout is valid and complete for the fields that it names: rows of one axis, or tokens of
requests with the fields that belong to them, and never a rule that lacks what it depends on.
"""

from __future__ import annotations

from hypothesis import strategies as st

from microbatch.binding.rules import (
    Layout,
    Rule,
    computed_tokens,
    query_start_loc,
    replicate,
    requests,
    seq_lens,
    tokens,
)

OF_REQUESTS = (("seq_lens", seq_lens()), ("per_request", requests()), ("computed", computed_tokens()))
"""Fields that only a batch of tokens and requests has."""


@st.composite
def layouts(draw: st.DrawFn, *, ragged: bool | None = None) -> Layout:
    """A layout with a field `hidden` that is cut; `batches(layout=...)` makes arguments for it.

    `ragged` says whether there are tokens of requests (with `query_start_loc` and what depends on it) or
    rows; None draws it. A leaf `weight` that every ubatch gets whole may be among them.
    """
    rules: dict[str, Rule] = {}
    of_requests = draw(st.booleans()) if ragged is None else ragged
    axis = 0 if of_requests else draw(st.integers(0, 1))
    rules["hidden"] = tokens(axis)
    if of_requests:
        rules["query_start_loc"] = query_start_loc()
        rules.update((name, rule) for name, rule in OF_REQUESTS if draw(st.booleans()))
    if draw(st.booleans()):
        rules["weight"] = replicate()
    return Layout(inputs=rules, outputs={"*": tokens(axis)})
