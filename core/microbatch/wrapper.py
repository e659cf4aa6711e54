"""The front door: wrap a function, call it as before, get the same result.

Invariant: `wrapper(*args, **kwargs)` returns what the function would have returned on the whole batch, or
raises what it raised. Other attributes are those of the wrapped thing. Names follow vLLM's `UBatchWrapper`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Self

import microbatch.turns.before_fork  # noqa: F401 - forks wait for the imports of steps from here on
from microbatch.binding.call import Wrapped, check_runnable, parameter_names
from microbatch.binding.rules import Layout
from microbatch.cutting.covering import check_within
from microbatch.cutting.cut import cut, most_ubatches
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice
from microbatch.errors import ArgumentTypeError
from microbatch.extend.records import StepReport
from microbatch.loading.plugins import Plugins, default_plugins, register_containers
from microbatch.options.fields import UBatchConfig
from microbatch.options.sources import resolve
from microbatch.sizing.planning import Planner
from microbatch.sizing.policies import cap_set, policy_for, policy_names
from microbatch.sizing.together import together_of
from microbatch.step.engine import Engine
from microbatch.step.progress import Progress
from microbatch.step.ubatches import contexts_for
from microbatch.step.wrapping import Wrapping
from microbatch.turns.ambient import Ambient
from microbatch.turns.barrier import UBatchBarrier
from microbatch.turns.context import SEAT, Apart, UBatchContext
from microbatch.turns.runtime import Runtime, default_runtime


class UBatchWrapper(Wrapped):
    """Runs each call of `runnable` as micro-batches.

    `config` fixes options; those it leaves at their defaults come from `microbatch.config()`, the environment
    and the configuration file. `layout` says which leaf is what, where that cannot be inferred from sizes.
    `progress(done, total)` is called as ubatches end, with the requests that are done: by one thread at a
    time, with counts that grow, the last of which is `total`. Where it raises, it is not called again in that
    step, which goes on and warns at its end. `ambient(slice, ubatch_id)` returns a context manager that is
    entered each time the ubatch goes on and left each time it passes the turn, so that what an engine keeps
    in a global follows the ubatch; under schedules without turns it is entered once, around the function. A
    step that is not cut, and the calls that try whether it may be, enter none. `memory_share` is the part of
    the device's capacity that a step may fill. Raises ArgumentTypeError if `runnable` cannot be wrapped,
    UnknownNameError or BackendUnavailableError for a backend or policy that is not there.
    """

    def __init__(
        self,
        runnable: Callable[..., Any],
        config: UBatchConfig | None = None,
        *,
        layout: Layout | None = None,
        progress: Progress | None = None,
        ambient: Ambient | None = None,
        plugins: Plugins | None = None,
        runtime: Runtime | None = None,
        memory_share: float = 1.0,
        **options: Any,
    ) -> None:
        check_runnable(runnable)
        _check_parts(layout, progress, ambient)
        self._runnable = runnable
        resolved = resolve(config, **options)
        self.config: UBatchConfig = resolved.config
        self.layout = layout
        self._runtime = runtime or default_runtime()
        known = plugins or default_plugins()
        register_containers()
        together = together_of(resolved)
        size = self.config.thread_pool_size
        wrapping = Wrapping(
            function=runnable,
            config=self.config,
            plugins=known,
            runtime=self._runtime,
            layout=layout,
            names=parameter_names(runnable),
            progress=progress,
            threads=size if together is None else max(size, together.most),
            ambient=ambient,
            policy=",".join(policy_names(resolved)),
            patience=self.config.barrier_timeout if resolved.explicit("barrier_timeout") else None,
        )
        policy = policy_for(resolved, known)
        planner = Planner(
            policy, self.config, memory_share=memory_share, cap=cap_set(resolved), together=together
        )
        self._engine = Engine(wrapping, planner)
        # made here and not when first asked for, as two threads would make two
        self._barrier = UBatchBarrier(self.config.num_ubatches, self._runtime)
        # not the engine's: it holds the function, and a function that holds its wrapper would live for ever
        weakref.finalize(self, self._engine.remembering.close)

    def __call__(
        self,
        *args: Any,
        ubatch_slices: Sequence[UBatchSlice] | Cut | None = None,
        out: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run one step. `ubatch_slices` fixes the cut; None leaves it to the policy.

        A cut of a padded batch (`microbatch.cut`) runs with its padding, parts that are padding alone too,
        and the result has the real rows. Arrays have the padded rows, or only the real ones: then the last
        one is repeated. `current_ubatch().num_real_tokens` says how many rows of a part are real.

        `out` takes the result: an array, or a tree of arrays with None where the output has no rows, or a
        function `out(shape, like) -> array` asked once per output leaf. Shape and dtype are the result's. An
        array is memory (of NumPy, a mapped file, a tensor, the device's), or anything that takes slices by
        item assignment: a dataset of a file, a column. Such are written by one thread at a time, and their
        first rows are read back. Refused before the function is called: what is read-only, a table, memory
        that an input or another `out` shares (an input itself may be `out`, where each part reads the rows
        that it writes). Memory that the function reaches otherwise is not seen.

        Raises what the function raised, with a note that names the ubatch; LayoutError, SliceError and
        OutputMismatchError before any result is given. Rows whose call ran out of memory are given to the
        function again, in smaller parts: it must not write into its inputs (`check` tells). Memory that it
        returns must not be written by its next call, where outputs are kept until the end (collected,
        reduced, or recorded by autograd) or with schedule="streamed".
        """
        if SEAT.get().seat is None:  # no ubatch is around it: asking this in `Apart` costs 3 calls
            return self._engine.run(args, kwargs, ubatch_slices, out)
        with Apart():
            return self._engine.run(args, kwargs, ubatch_slices, out)

    @property
    def last_report(self) -> StepReport | None:
        """What the last finished call did; None before the first."""
        return self._engine.last_report

    def compute_slices(
        self, num_tokens: int, num_reqs: int, query_start_loc: Any = None
    ) -> list[UBatchSlice]:
        """Cut a batch known by its counts into `config.num_ubatches`, or as many as can be filled.

        `query_start_loc` (cumulative tokens per request, num_reqs + 1 whole numbers on the host) says where
        requests start; without it they are taken as equally long. `microbatch.cut` has more ways to cut.
        Raises SliceError for counts that cannot be cut.
        """
        shape = BatchShape(num_tokens=num_tokens, num_requests=num_reqs, query_start_loc=query_start_loc)
        splitter = "even" if self.config.splitter in ("auto", "packed") else self.config.splitter
        multiple = self.config.multiple_of
        count = min(self.config.num_ubatches, max(1, most_ubatches(shape, "even", multiple)))
        return list(cut(shape, splitter=splitter, num_ubatches=count, multiple_of=multiple).slices)

    def prepare_contexts(self, slices: Sequence[UBatchSlice]) -> list[UBatchContext]:
        """One context per slice, in order."""
        return contexts_for(tuple(slices), self._runtime)

    def slice_inputs(self, inputs: Any, slice_info: UBatchSlice) -> Any:
        """The part of `inputs` (any tree that the layout covers) that belongs to `slice_info`, as views.

        Raises ArgumentTypeError for what is no UBatchSlice, SliceError for one that ends beyond the batch.
        """
        batch = self._engine.bind((inputs,), {})
        check_within(slice_info, batch.shape)
        args, _ = batch.part(slice_info)
        return args[0]

    def barrier_sync(self, timeout: float | None = None) -> int:
        """Wait until all `config.num_ubatches` parties have called this; returns the arrival index.

        `timeout` in seconds, None for `config.barrier_timeout`. Raises WaitTimeoutError, BarrierBrokenError.
        """
        return self._barrier.wait(self.config.barrier_timeout if timeout is None else timeout)

    def unwrap(self) -> Callable[..., Any]:
        """The wrapped thing itself."""
        return self._runnable

    def shutdown(self) -> None:
        """Stop the worker threads; calls after it raise ClosedError."""
        self._engine.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    def __getattr__(self, name: str) -> Any:
        if name == "_runnable":  # not set yet: a failed __init__ or a copy in the making
            raise AttributeError(name)
        return getattr(self._runnable, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._runnable!r})"


def wrap(runnable: Callable[..., Any], **options: Any) -> UBatchWrapper:
    """Wrap a function so that each call runs as micro-batches; the short way in.

    `options` are the fields of UBatchConfig, plus `config`, `layout`, `progress` and `ambient`. Example:
    `f = microbatch.wrap(f, backend="cpu")`.
    """
    return UBatchWrapper(runnable, options.pop("config", None), **options)


def _check_parts(layout: object, progress: object, ambient: object) -> None:
    if layout is not None and not isinstance(layout, Layout):
        raise ArgumentTypeError(
            f"layout is {type(layout).__name__}; pass "
            f"microbatch.Layout(inputs={{'mask': microbatch.tokens()}})"
        )
    if progress is not None and not callable(progress):
        raise ArgumentTypeError(f"progress is {type(progress).__name__}; pass a function of (done, total)")
    if ambient is not None and not callable(ambient):
        raise ArgumentTypeError(
            f"ambient is {type(ambient).__name__}; pass a function of (slice, ubatch_id) that returns a "
            "context manager"
        )
