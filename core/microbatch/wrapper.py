"""The front door: wrap a function, call it as before, get the same result.

Invariant: `wrapper(*args, **kwargs)` returns what the function would have returned on the whole batch, or
raises what it raised. Other attributes are those of the wrapped thing. Names follow vLLM's `UBatchWrapper`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Self, overload

import microbatch.turns.before_fork  # noqa: F401 - forks wait for the imports of steps from here on
from microbatch.binding.call import check_runnable
from microbatch.binding.rules import Layout
from microbatch.cutting.covering import check_within
from microbatch.cutting.cut import cut, most_ubatches
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice
from microbatch.guest.attributes import Guest
from microbatch.guest.controls import Controls, Recipe
from microbatch.guest.copies import copied, of_instance, reduced
from microbatch.loading.plugins import Plugins
from microbatch.options.fields import UBatchConfig
from microbatch.options.sources import resolve
from microbatch.step.progress import Progress
from microbatch.step.ubatches import contexts_for
from microbatch.turns.ambient import Ambient
from microbatch.turns.context import PLACE, Apart, UBatchContext
from microbatch.turns.runtime import Runtime


class UBatchWrapper(Guest):
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
        progress: Progress | Literal[True] | None = None,
        ambient: Ambient | None = None,
        plugins: Plugins | None = None,
        runtime: Runtime | None = None,
        memory_share: float = 1.0,
        **options: Any,
    ) -> None:
        check_runnable(runnable)
        recipe = Recipe(
            runnable=runnable,
            resolved=resolve(config, **options),
            layout=layout,
            progress=progress,
            ambient=ambient,
            plugins=plugins,
            runtime=runtime,
            memory_share=memory_share,
        )
        self.take(Controls(recipe))

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
        if PLACE.get().seat is None:  # no ubatch is around it: asking this in `Apart` costs 3 calls
            return self._microbatch.engine.run(args, kwargs, ubatch_slices, out)
        with Apart():
            return self._microbatch.engine.run(args, kwargs, ubatch_slices, out)

    def compute_slices(
        self, num_tokens: int, num_reqs: int, query_start_loc: Any = None
    ) -> list[UBatchSlice]:
        """Cut a batch known by its counts into `num_ubatches`, or as many as can be filled.

        `query_start_loc` (cumulative tokens per request, num_reqs + 1 whole numbers on the host) says where
        requests start; without it they are taken as equally long. `microbatch.cut` has more ways to cut.
        Raises SliceError for counts that cannot be cut.
        """
        shape = BatchShape(num_tokens=num_tokens, num_requests=num_reqs, query_start_loc=query_start_loc)
        options = self._microbatch.options
        splitter = "even" if options.splitter in ("auto", "packed") else options.splitter
        multiple = options.multiple_of
        count = min(options.num_ubatches, max(1, most_ubatches(shape, "even", multiple)))
        return list(cut(shape, splitter=splitter, num_ubatches=count, multiple_of=multiple).slices)

    def prepare_contexts(self, slices: Sequence[UBatchSlice]) -> list[UBatchContext]:
        """One context per slice, in order."""
        return contexts_for(tuple(slices), self._microbatch.runtime)

    def slice_inputs(self, inputs: Any, slice_info: UBatchSlice) -> Any:
        """The part of `inputs` (any tree that the layout covers) that belongs to `slice_info`, as views.

        Raises ArgumentTypeError for what is no UBatchSlice, SliceError for one that ends beyond the batch.
        """
        batch = self._microbatch.engine.bind((inputs,), {})
        check_within(slice_info, batch.shape)
        args, _ = batch.part(slice_info)
        return args[0]

    def barrier_sync(self, timeout: float | None = None) -> int:
        """Wait until all `num_ubatches` parties have called this; returns the arrival index.

        `timeout` in seconds, None for `barrier_timeout`. Raises WaitTimeoutError, BarrierBrokenError.
        """
        own = self._microbatch
        return own.barrier.wait(own.options.barrier_timeout if timeout is None else timeout)

    def shutdown(self) -> None:
        """Stop the worker threads; calls after it raise ClosedError."""
        self._microbatch.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    def __set_name__(self, owner: type, name: str) -> None:
        self._microbatch.attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Self:
        """The wrapper of an instance's own method; this one where a plain function would not be a method."""
        runnable = self._microbatch.recipe.runnable
        bind = None if instance is None else getattr(type(runnable), "__get__", None)
        method = runnable if bind is None else bind(runnable, instance, owner)
        return self if method is runnable else of_instance(self, instance, method)

    def __copy__(self) -> Self:
        return copied(self, lambda thing: thing)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copied(self, partial(copy.deepcopy, memo=memo))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduced(self)


_MISSING: Any = object()
"""No function: `wrap` is asked for a decorator."""


@overload
def wrap(runnable: Callable[..., Any], **options: Any) -> UBatchWrapper: ...


@overload
def wrap(**options: Any) -> Callable[[Callable[..., Any]], UBatchWrapper]: ...


def wrap(runnable: Any = _MISSING, **options: Any) -> Any:
    """Wrap a function so that each call runs as micro-batches; the short way in.

    `options` are the fields of UBatchConfig, plus `config`, `layout`, `progress` and `ambient`. Example:
    `f = microbatch.wrap(f, backend="cpu")`. As a decorator, `@microbatch.wrap` and
    `@microbatch.wrap(num_ubatches=4)`, also on methods, where each instance has steps of its own, and below
    or above `staticmethod` and `classmethod`.
    """
    if runnable is _MISSING:
        return partial(wrap, **options)
    if isinstance(runnable, (staticmethod, classmethod)):
        return type(runnable)(wrap(runnable.__func__, **options))
    return UBatchWrapper(runnable, options.pop("config", None), **options)
