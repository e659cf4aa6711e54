"""Records: readings of memory, requests to size, outcomes of steps, slices.

Invariant: every drawn record could be real: in use is never above peak or capacity, sizes add up to the
batch.
"""

from __future__ import annotations

from itertools import accumulate

from hypothesis import strategies as st

from microbatch.cutting.slices import UBatchSlice
from microbatch.extend.records import FailureKind, MemoryReading, SizingRequest, StepReport

MIB = 1 << 20


@st.composite
def ubatch_slices(draw: st.DrawFn, *, max_tokens: int = 64) -> UBatchSlice:
    """Any slice with at least as many tokens as requests."""
    tokens = draw(st.integers(0, max_tokens))
    requests = draw(st.integers(0, tokens)) if tokens else 0
    start, first = draw(st.integers(0, max_tokens)), draw(st.integers(0, max_tokens))
    return UBatchSlice.from_range(start, start + tokens, first, first + requests)


@st.composite
def memory_readings(draw: st.DrawFn, *, capacity: int | None = None) -> MemoryReading:
    """One look at a memory."""
    total = capacity or draw(st.integers(1, 1 << 16)) * MIB
    in_use = draw(st.integers(0, total))
    usable = draw(st.integers(0, total - in_use))
    peak = draw(st.integers(in_use, total))
    pressure = max(in_use / total, draw(st.sampled_from([0.0, 0.5, 1.0])))
    return MemoryReading(capacity=total, in_use=in_use, usable=usable, peak=peak, pressure=pressure)


@st.composite
def memory_traces(draw: st.DrawFn, *, max_size: int = 12) -> list[MemoryReading]:
    """Readings of one memory over time; the peak never falls."""
    total = draw(st.integers(1, 1 << 10)) * MIB
    used = draw(st.lists(st.integers(0, total), min_size=1, max_size=max_size))
    return [
        MemoryReading(capacity=total, in_use=now, usable=total - now, peak=peak, pressure=now / total)
        for now, peak in zip(used, accumulate(used, max), strict=True)
    ]


@st.composite
def sizing_requests(draw: st.DrawFn, *, max_tokens: int = 1 << 14) -> SizingRequest:
    """A step to size."""
    tokens = draw(st.integers(1, max_tokens))
    requests = draw(st.integers(1, tokens))
    row = draw(st.integers(1, 1 << 16))
    return SizingRequest(
        num_tokens=tokens,
        num_requests=requests,
        unit="rows" if tokens == requests else "tokens",
        longest_request=draw(st.integers(-(-tokens // requests), tokens - requests + 1)),
        bytes_per_unit=row,
        largest_bytes_per_unit=draw(st.integers(1, row)),
        memory=draw(st.none() | memory_readings()),
        workers=draw(st.integers(1, 4)),
        decode=tokens == requests,
    )


@st.composite
def step_outcomes(draw: st.DrawFn, *, max_ubatches: int = 6) -> StepReport:
    """What a step did: finished, or failed in one of the ways there are; possibly after retries."""
    sizes = tuple(draw(st.lists(st.integers(1, 512), min_size=1, max_size=max_ubatches)))
    seconds = draw(st.floats(1e-6, 1e3))
    failure = draw(st.none() | st.sampled_from(FailureKind))
    tried = draw(st.lists(st.integers(1, 512), max_size=3, unique=True))
    return StepReport(
        step=draw(st.integers(0, 1000)),
        num_tokens=sum(sizes),
        num_requests=sum(sizes),
        sizes=sizes,
        seconds=seconds,
        ubatch_seconds=tuple(seconds / len(sizes) for _ in sizes) if len(sizes) > 1 else (),
        oom_sizes=tuple(sorted(tried, reverse=True)),
        failure=failure,
        peak_bytes=draw(st.none() | st.integers(0, 1 << 40)),
    )
