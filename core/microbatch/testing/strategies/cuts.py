"""Ways to cut a batch: a splitter with what it needs, the cut that comes of it, and the plan of a step.

Invariant: a drawn cut is one that `cut` makes of that batch; ways it refuses are not drawn. A plan is one
that the planner may make, whatever the policy says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape, Cut
from microbatch.sizing.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCut:
    """A batch, how it is cut, and the cut."""

    shape: BatchShape
    """The batch."""
    options: Mapping[str, Any]
    """Arguments of `cut`."""
    cut: Cut
    """The result."""


@st.composite
def cuts(draw: st.DrawFn, *, shapes: st.SearchStrategy[BatchShape]) -> DrawnCut:
    """A cut of one of `shapes`, by count, by limit or at given places."""
    shape = draw(shapes)
    splitter = draw(st.sampled_from(["even", "floor", "request-aligned", "packed", "explicit"]))
    most = max(1, shape.num_requests if splitter in ("packed", "request-aligned") else shape.num_tokens)
    options: dict[str, Any] = {"splitter": splitter}
    if splitter == "explicit":
        inner = st.sets(st.integers(1, max(1, shape.num_tokens - 1)), max_size=4)
        options["boundaries"] = sorted(draw(inner)) if shape.num_tokens > 1 else []
    elif splitter in ("packed", "request-aligned") or draw(st.booleans()):
        options["num_ubatches"] = draw(st.integers(1, most))
    else:
        options["limit"] = draw(st.integers(1, most + 1))
    return DrawnCut(shape=shape, options=options, cut=cut(shape, **options))


@st.composite
def plans(draw: st.DrawFn, *, shapes: st.SearchStrategy[BatchShape], max_workers: int = 3) -> Plan:
    """A plan for one of `shapes`: a cut and the workers for it, or that the batch stays whole."""
    drawn = draw(cuts(shapes=shapes))
    whole = len(drawn.cut.slices) < 2 or not draw(st.booleans())
    sizes = (drawn.shape.num_tokens,) if whole else tuple(piece.num_tokens for piece in drawn.cut.slices)
    return Plan(
        cut=None if whole else drawn.cut,
        reason="drawn",
        limit=None if whole else max(sizes),
        sizes=sizes,
        workers=1 if whole else draw(st.integers(1, max_workers)),
        num_units=drawn.shape.num_tokens,
        unit="rows" if drawn.shape.query_start_loc is None else "tokens",
        fixed=True,
    )
