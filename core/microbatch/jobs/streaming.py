"""Results of rows that arrive one after the other: from a generator, a queue, a DataLoader.

Invariant: results come in the order of the rows, each once; at most two blocks of rows and one result are in
memory. While a block runs, the next one is gathered in another thread, so the iterable is advanced there, by
one thread at a time. Whatever ends the stream (its end, `close`, an error on either side, an interrupt), the
iterable is closed and no thread goes on asking it; rows before an error of the iterable come out before it is
raised.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from microbatch.errors import ArgumentTypeError
from microbatch.jobs.ahead import Ahead
from microbatch.jobs.block_sizes import BYTES, BlockSizes, bytes_of
from microbatch.jobs.collating import Collated, collated, in_pieces
from microbatch.options import checks
from microbatch.turns.runtime import Runtime, default_runtime
from microbatch.wrapper import UBatchWrapper

END: Any = object()
"""No item."""
LOADER = ("torch.utils.data.dataloader", "DataLoader")
"""What gives batches without being told."""


def stream(
    f: Callable[..., Any],
    iterable: Iterable[Any],
    *,
    batched: bool | None = None,
    rows: int | None = None,
    **options: Any,
) -> Generator[Any, None, None]:
    """Yield what `f` returns for each item of `iterable`, in order, running many items in one step.

    An item is a row, or with `batched=True` (the default for a DataLoader that batches) a small batch; the
    result of a row is its entry of what `f` returns, that of a batch its rows. A tuple is several arguments,
    a dictionary arguments by name. `rows` is the most of them in a step; without it, steps grow from 32 rows
    until they take about two seconds or 16 MiB. `options` are those of a wrapper.

    The iterable is advanced in another thread, one block ahead. Close the generator (or use it up) to be done
    with it. Raises what `f` and the iterable raise, and OutputMismatchError for a result without an entry per
    row.
    """
    if isinstance(f, UBatchWrapper) and options:
        raise ArgumentTypeError("the function is already wrapped; to change its options, wrap its unwrap()")
    items = iter(iterable)
    most = None if rows is None else checks.count("rows", rows)
    in_batches = _gives_batches(iterable) if batched is None else batched
    wrapper = f if isinstance(f, UBatchWrapper) else UBatchWrapper(f, **options)
    return _results(wrapper, _Gathering(items, most, in_batches), default_runtime(), own=wrapper is not f)


class _Gathering:
    """Takes items from the iterable until they are a block."""

    def __init__(self, items: Iterator[Any], most: int | None, batched: bool) -> None:
        self._items: Iterator[Any] | None = items
        self._most = most
        self.batched = batched
        self.sizes = BlockSizes(whole=False, timed=True)
        self.stopped: Callable[[], bool] = lambda: False
        self._error: BaseException | None = None

    def block(self) -> Collated | None:
        """The next block; None at the end. An error of the iterable is raised after the rows before it."""
        if self._error is not None:
            raise self._error
        found: list[Any] = []
        count, size = 0, 0
        while count < (self._most or self.sizes.rows) and size < BYTES and not self.stopped():
            item = self._next(begun=bool(found))
            if item is END:
                break
            found.append(item)
            count += len(_first(item)) if self.batched and hasattr(_first(item), "__len__") else 1
            size += bytes_of(item)
        return collated(found, batched=self.batched) if found else None

    def _next(self, *, begun: bool) -> Any:
        """The next item, or END; an error is kept for later where rows before it have `begun` a block."""
        try:
            return END if self._items is None else next(self._items, END)
        except BaseException as error:
            if not begun:
                raise
            self._error = error
            return END

    def close(self) -> None:
        """Let the iterable go, and close it if it is a generator."""
        items, self._items = self._items, None
        close = getattr(items, "close", None)
        if callable(close):
            close()


def _results(
    wrapper: UBatchWrapper, gathering: _Gathering, runtime: Runtime, *, own: bool
) -> Generator[Any, None, None]:
    with ExitStack() as stack:
        if own:
            stack.enter_context(wrapper)
        ahead: Ahead[Collated] = Ahead(gathering.block, gathering.close, runtime)
        stack.callback(ahead.close)
        gathering.stopped = lambda: ahead.closed
        yield from _each(wrapper, gathering, ahead, runtime)


def _each(
    wrapper: UBatchWrapper, gathering: _Gathering, ahead: Ahead[Collated], runtime: Runtime
) -> Generator[Any, None, None]:
    """A function of its own: Python 3.12 and 3.13 do not guard the jump back of a loop in a `with`."""
    while (made := ahead.take()) is not None:
        started = runtime.monotonic()
        result = wrapper(*made.args, **made.kwargs)
        gathering.sizes.ran(made.rows, runtime.monotonic() - started, bytes_of(result))
        yield from in_pieces(result, made, batched=gathering.batched)
        del made, result


def _first(item: Any) -> Any:
    """The part of a batch that says how many rows it has."""
    if isinstance(item, dict):
        return next(iter(item.values()), ())
    several = isinstance(item, tuple) or (isinstance(item, list) and item and hasattr(item[0], "shape"))
    return item[0] if several and item else item


def _gives_batches(iterable: Iterable[Any]) -> bool:
    loader = any((base.__module__, base.__name__) == LOADER for base in type(iterable).__mro__)
    return loader and getattr(iterable, "batch_size", None) is not None
