"""Why a step that was cut gained nothing though its parts ran side by side.

Invariant: as in `causes.py`.
"""

from __future__ import annotations

from microbatch.timeline.bars import Bar
from microbatch.timeline.case import Case
from microbatch.timeline.finding import Finding

SHORT = 200e-6
"""Seconds: a part that computes longer is not too small, whatever it costs to cut and store it."""
SMALL = 0.25
"""Share of the time of computing from which cutting and storing make parts too small."""
LOCKED = 0.25
"""Share of the time of computing that threads wait for the interpreter."""
AWAKE = 0.05
"""Share of that time below which threads were asleep, as for a network, and not at work."""
BUSY = 0.85
"""Share above which they hardly waited, however often: each operation of NumPy gives the lock away and takes
it back, most of the time at once."""
KERNEL = 0.2
"""Share of the processor time that is spent in the kernel for fresh pages."""
FAULTS = 32
"""Fewer faults say nothing: starting a thread makes some."""
TICKS = 0.005
"""Seconds of the kernel below which nothing is said: systems count in ticks of up to 4 ms."""
BOUND = 0.5
"""Share of the rate of copying from which a function that must also compute is bound by memory."""


def too_small(case: Case) -> Finding | None:
    """Cutting and storing costs much of what computing takes."""
    # medians: one part whose thread was stopped for a moment would outweigh a hundred small ones
    each, around = case.each_ubatch("compute"), case.each_ubatch("cut") + case.each_ubatch("store")
    count = len({(bar.step, bar.ubatch) for bar in case.of("compute")})
    if not case.cut or not count or each >= SHORT or around < SMALL * each:
        return None
    return Finding(
        cause="parts too small",
        text="the parts are so small that cutting and storing them costs much of what computing them takes",
        evidence=f"{count:,} parts; one computes {each * 1e6:.3g} us, and {around * 1e6:.3g} us go to"
        " cutting and storing it",
        remedy="ask for larger parts (max_tokens_per_ubatch, a smaller num_ubatches), or do more in one call",
    )


def interpreter_lock(case: Case) -> Finding | None:
    """Threads wait for each other to run Python code, and not ours, which is much where parts are small."""
    bars = [bar for bar in case.of("compute") if bar.usage is not None]
    threads = {bar.lane for bar in bars}
    if not case.process.locked or case.schedule != "parallel" or len(threads) < 2:
        return None
    if case.each_ubatch("compute") < SHORT:
        return None
    waits = sum(bar.usage.waits for bar in bars if bar.usage is not None)
    wall, spent = sum(bar.seconds for bar in bars), _spent(bars)
    if waits < 4 or waits * case.process.switch_interval < LOCKED * wall:
        return None
    if not AWAKE * wall <= spent <= BUSY * wall:
        return None
    return Finding(
        cause="interpreter lock",
        text="the function holds Python's global lock, so its threads take turns instead of running side by"
        " side",
        evidence=f"{len(threads)} threads computed {wall:.3g} s together, in {spent:.3g} s of processor time,"
        f" and gave their core away {waits:,} times",
        remedy='use operations on whole arrays, or schedule="sequential"; free-threaded Python has no such'
        " lock",
    )


def fresh_pages(case: Case) -> Finding | None:
    """The kernel is busy with memory that was never touched before."""
    bars = [bar for bar in case.of("compute", "store", "copy in") if bar.usage is not None]
    faults = sum(bar.usage.faults for bar in bars if bar.usage is not None)
    system = sum(bar.usage.system_seconds for bar in bars if bar.usage is not None)
    if faults < FAULTS or system < max(TICKS, KERNEL * _spent(bars)):
        return None
    return Finding(
        cause="fresh pages",
        text="much of the time goes to memory that is touched for the first time",
        evidence=f"{faults:,} page faults, and {system * 1e3:.3g} ms of {_spent(bars) * 1e3:.3g} ms of"
        " processor time in the kernel",
        remedy="write the result into memory that is there (out=), reuse buffers inside of the function, or"
        " take smaller parts, whose memory is used again",
    )


def memory_bound(case: Case) -> Finding | None:
    """Rows go through as fast as they can be copied."""
    moved = sum(bar.nbytes for bar in case.of("cut", "store"))
    seconds = case.covered("compute")
    if not case.cut or case.asynchronous or moved < 1 << 20 or not seconds:
        return None
    rate, most = moved / seconds, case.process.copy_rate()
    if rate < BOUND * most:
        return None
    return Finding(
        cause="memory bound",
        text="the function is bound by memory already: its rows go through as fast as they can be copied",
        evidence=f"{moved / 1e6:,.0f} MB of rows in {seconds * 1e3:.3g} ms, {rate / 1e9:.3g} GB/s; copying"
        f" here reaches {most / 1e9:.3g} GB/s",
        remedy="do more with rows while they are in the cache: put several functions into one wrapped call",
    )


def _spent(bars: list[Bar]) -> float:
    return sum(bar.usage.seconds for bar in bars if bar.usage is not None)
