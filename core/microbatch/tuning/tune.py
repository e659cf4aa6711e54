"""`tune`: measure a function on a batch at growing sizes, and say which size to configure.

Invariant: whatever can be wrong with the options is found before the first call, and no size runs that is not
expected to fit the memory. Parts are measured one at a time, with the threads that one worker of a step has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from microbatch.binding.call import Call
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentValueError
from microbatch.extend.inside import inside
from microbatch.extend.protocols import Backend
from microbatch.host.cores import usable_cores
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import default_plugins, register_containers
from microbatch.options.byte_sizes import bytes_of
from microbatch.options.checks import increasing
from microbatch.options.sources import resolve
from microbatch.tuning.measure import doubling, measure_sizes
from microbatch.tuning.report import TuneReport
from microbatch.tuning.workbench import CallBench
from microbatch.turns.context import Apart

SHARE = 0.9
"""Part of the memory there is that a part may use."""
NO_LIMIT = 1 << 62
"""The budget where the backend cannot tell how much memory there is."""


def tune(
    f: Callable[..., Any],
    *inputs: Any,
    backend: str | None = None,
    layout: Layout | None = None,
    sizes: Iterable[int] | None = None,
    memory_limit: int | str | None = None,
    **kwargs: Any,
) -> TuneReport:
    """Measure `f(*inputs, **kwargs)` in parts of growing size, and say which size to use (`report.chosen`).

    `sizes` are counted as `max_tokens_per_ubatch` is: in rows, in tokens where requests have several, in
    padded units where the layout has lengths. None doubles from the smallest part up to the whole batch.
    `memory_limit` (bytes, or such as "2GiB") is the most that a part may take. It and `backend` default to
    what is configured, as for `wrap`. Keywords not named here go to `f`, which is called many times on rows
    of the batch. Raises ArgumentTypeError, ArgumentValueError or LayoutError for what cannot be measured, and
    what `f` raises at the smallest size.
    """
    call = Call.of(f, inputs, kwargs, layout)
    return tune_call(call, backend=backend, sizes=sizes, memory_limit=memory_limit)


def tune_call(
    call: Call,
    *,
    backend: str | None = None,
    sizes: Iterable[int] | None = None,
    memory_limit: int | str | None = None,
) -> TuneReport:
    """As `tune`, of a call that is there already."""
    wanted = None if sizes is None else increasing("sizes", sizes)
    given = {"backend": backend, "memory_limit": memory_limit}
    config = resolve(None, **{name: value for name, value in given.items() if value is not None}).config
    register_containers()
    chosen = BackendChoice(config.backend, default_plugins()).of(call.args, call.kwargs)
    bench = CallBench(call, chosen)
    if not bench.units:
        raise ArgumentValueError("the batch has no rows, so nothing can be measured; pass some")
    # A part is never larger than the batch, so all larger sizes are the batch, once.
    tried = (
        doubling(bench.least, bench.units) if wanted is None else {min(size, bench.units) for size in wanted}
    )
    workers = min(config.thread_pool_size, usable_cores()) if chosen.parallel else 1
    budget = _budget(chosen, config.memory_limit)

    # The calling thread gets what one of `workers` has. With all threads of the framework a part is faster
    # than it will run or, on a busy machine, a hundred times slower.
    def measure(_: None) -> TuneReport:
        return measure_sizes(bench, sorted(tried), time.perf_counter, budget=budget)

    own = chosen.worker_limits(workers)
    with Apart():
        report = inside(chosen.parallel_limits(workers), lambda _: inside(own, measure))
    return replace(report, workers=workers)


def _budget(backend: Backend, limit: int | str | None) -> int:
    """Bytes that a part may use."""
    memory = backend.memory()
    usable = int(SHARE * memory.usable) if memory.capacity > 0 else NO_LIMIT
    most = bytes_of(limit, memory.capacity)
    return usable if most is None else min(most, usable)
