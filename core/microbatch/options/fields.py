"""The options of a wrapper, as one frozen record.

Invariant: a value of this class is valid; whoever holds one need not check it again. Where each value came
from (argument, context manager, environment, file, default) is the business of `sources.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.options import checks
from microbatch.options.policy_options import pairs_of

SPLITTERS = ("auto", "even", "floor", "request-aligned", "packed")
"""What `splitter` may be."""
SCHEDULES = ("auto", "sequential", "parallel", "pingpong", "streamed")
"""What `schedule` may be."""
DRIVERS = ("threads", "greenlets")
"""What `driver` may be."""
SHAPES = ("any", "few")
"""What `shapes` may be."""
VERIFY = ("first", "always", "never")
"""What `verify` may be."""
RANKS = ("agree", "independent")
"""What `ranks` may be."""


def _option(default: Any, check: Callable[..., Any], *, optional: bool = False, **bounds: Any) -> Any:
    """A field, the check of its values, and whether it may be None; it may where that is the default."""
    check = partial(check, **bounds)
    return field(default=default, metadata={"check": check, "optional": optional or default is None})


@dataclass(frozen=True, slots=True, kw_only=True)
class UBatchConfig:
    """How a wrapper cuts and runs its steps."""

    num_ubatches: int = _option(2, checks.count)
    """Ubatches per step for the policies that follow a count (`fixed`): so many, or as many as can be filled.

    Set without a policy, it makes `fixed` the policy.
    """
    max_tokens_per_ubatch: int = _option(512, checks.count)
    """Token budget of one ubatch for the policies that follow a budget (`tokens`).

    Set without a policy, it makes `tokens` the policy. Set at all, it caps every ubatch whatever the policy
    says: with a count it makes more parts where it must, and a request that is longer runs alone. The default
    caps nothing. A record of options that holds the default does not count as set, as nothing tells it from
    one that leaves the field out; pass `max_tokens_per_ubatch=512` to `wrap` for that very cap.
    """
    thread_pool_size: int = _option(4, checks.count, highest=4096)
    """Most threads of a wrapper, the caller's included.

    Parts side by side run on as many as are free, and on no more than the cores of this process; where none
    is free, as other callers have them, or none can be started, the caller runs all parts itself. Ubatches
    that take turns on threads (`pingpong`) have one each, as all are alive at the same time: more than this
    take turns in groups, one group after the other, and a policy's number of parts is no larger. A
    `num_ubatches` above the default of this raises it. Callers at the same time have such threads each; those
    above this number end with their steps.
    """
    barrier_timeout: float | None = _option(30.0, checks.seconds, optional=True)
    """Seconds any wait between ubatches may take; None waits for ever. Ranks wait for each other before a
    step as long as their process group allows, or, where this was set, so long."""
    enable_overlap: bool = _option(True, checks.flag)
    """False runs ubatches one after another in the caller's thread."""
    backend: str = _option("auto", checks.names)
    """Backend name; `auto` asks the inputs, then the priorities. A named backend never falls back."""
    policy: str = _option("auto", checks.names)
    """Policy name, or a chain of names joined by commas; each may only lower the limit or ask for more parts.

    Where none is named, a count and a budget that were set go before `auto`, and under `schedule="pingpong"`
    it is `fixed`: ubatches that take turns overlap by their number.
    """
    splitter: str = _option("auto", checks.choice, known=SPLITTERS)
    """even, floor, request-aligned or packed; `auto` is packed where requests have lengths, else even."""
    multiple_of: int = _option(1, checks.count)
    """Part sizes are so many tokens, or a multiple of them, all but that of the last part: for kernels with
    tiles, and for groups that share tokens out. With it `auto` cuts evenly; a limit below it goes first."""
    schedule: str = _option("auto", checks.choice, known=SCHEDULES)
    """sequential, parallel, pingpong or streamed; `auto` is parallel where that is safe, else sequential."""
    driver: str = _option("threads", checks.choice, known=DRIVERS)
    """What carries the ubatches of `pingpong`: threads or greenlets."""
    policy_options: tuple[tuple[str, Any], ...] = _option((), pairs_of)
    """What the policy is given, as a mapping: `{"deadline": 0.05}`, or `{"latency": {"deadline": 0.05}}` in a
    chain. Kept as pairs."""
    memory_limit: int | str | None = _option(None, checks.size)
    """Most bytes the step may use, also given as text (`"2GiB"`), or as a share of the device's capacity
    (`"40%"`); None takes what the backend reads."""
    shapes: str = _option("any", checks.choice, known=SHAPES)
    """any, or few: parts of at most four sizes for each structure of the calls, for functions that are
    compiled anew for each size. Not set, it is few for what `torch.compile` and `jax.jit` made."""
    yield_at_collectives: bool = _option(False, checks.flag)
    """Under `pingpong`, pass the turn wherever torch.distributed waits for a collective, functional ones too:
    it is started, siblings compute, and it is waited for when the turn is back. For models without yield
    points of their own; in code that torch has compiled nothing of it is seen."""
    strict_yields: bool = _option(False, checks.flag)
    """Report unequal numbers of yields instead of letting a finished ubatch leave."""
    verify: str = _option("first", checks.choice, known=VERIFY)
    """When to show on a few rows that the function may be cut: first (once for each structure of its calls),
    always (at drawn rows before every step) or never. Never takes what sizes say for certain and the layout;
    anything else is an error. Where ranks run steps together nothing can be shown: what is not declared runs
    whole, unless this is never."""
    history: str | None = _option(None, checks.path)
    """Path of the file in which learned sizes are kept across runs; None keeps nothing. What is there and is
    no history, or not this user's own, is left as it is, with a warning."""
    model: str | None = _option(None, checks.label)
    """Id of the model in the history; None takes the module and name of the function."""
    thread_safe: bool = _option(True, checks.flag)
    """False says that two calls of the function must never overlap."""
    ranks: str = _option("agree", checks.choice, known=RANKS)
    """What a step does where its process is one of several ranks (`torch.distributed` is initialised).

    agree: before each step the ranks agree on its number of parts, so that all of them call the function
    equally often, and its collectives meet their partners; every rank must call the wrapper equally often.
    Nothing is tried beforehand or again after running out of memory, and no parts run side by side.
    independent: the function does not communicate, and each rank runs its steps as if it were alone; only
    `auto` does not take `parallel`, which must be named. Outside a process group it says nothing.
    """
    process_group: object | None = _option(None, checks.thing)
    """The `ProcessGroup` whose ranks run each step together; None is the default group. It is an object, so
    it is given in code, not by environment or file."""
    graphs: bool = _option(False, checks.flag)
    """Capture calls, or whole steps of ubatches that take turns, as graphs and replay them, where the backend
    can and the results are those without. A replay reads weights where they were at the capture (updates in
    place are seen, other arrays in their place are not) and repeats no host code; wrap again after replacing
    weights."""
    graph_sizes: tuple[int, ...] | None = _option(None, checks.increasing_in_text)
    """Rows to capture; calls are padded up to the next larger number. None captures sizes as they come."""
    max_ubatches: int = _option(65536, checks.count, highest=2**31 - 1)
    """Most ubatches in one step; a guard against a wrong count."""

    def __post_init__(self) -> None:
        """Raise ArgumentTypeError, ArgumentValueError or UnknownNameError for the first wrong value."""
        for name in _OPTIONS:
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        if self.num_ubatches > self.max_ubatches:
            raise ArgumentValueError(
                f"num_ubatches is {self.num_ubatches}, above the cap of {self.max_ubatches}; "
                "lower it, or raise max_ubatches"
            )
        if self.multiple_of > 1 and self.splitter in ("request-aligned", "packed"):
            raise ArgumentValueError(
                f"multiple_of is {self.multiple_of}, but the splitter is {self.splitter}, which cuts between "
                "requests; use even or floor"
            )


_OPTIONS = MappingProxyType({option.name: option for option in fields(UBatchConfig)})
FIELDS = tuple(_OPTIONS)
"""The names of all options."""
OPTIONAL = frozenset(name for name, option in _OPTIONS.items() if option.metadata["optional"])
"""Fields that may be None; written `none` where there is only text."""


def checked(name: str, value: Any) -> Any:
    """`value` as the field of that name holds it; raises what the constructor raises."""
    if value is None and name in OPTIONAL:
        return None
    return _OPTIONS[name].metadata["check"](name, value)
