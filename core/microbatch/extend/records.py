"""The frozen records that cross a seam: what plugins announce, what policies see, what a step reports.

Invariant: numbers, strings and names only. No array, stream, event or tensor is ever in one of these, so a
record can be kept, compared, written as JSON and sent to a third party without holding device memory.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.options.messages import unit_label

__all__ = [
    "API",
    "BackendInfo",
    "ContainerInfo",
    "FailureKind",
    "MemoryReading",
    "PolicyInfo",
    "Proposal",
    "RowsInfo",
    "SizingRequest",
    "StepReport",
    "unit_label",
]

API = 1
"""The number of the plugin contract: records with another number are refused with both numbers named."""


class FailureKind(enum.Enum):
    """What an exception means for retrying (reference: the out-of-memory table of the sizing study)."""

    OOM = "oom"
    """Memory ran out: free, shrink, retry."""
    SIZE = "size"
    """The part is too large for an index or a launch: shrink, nothing to free."""
    SUSPECT = "suspect"
    """May be memory in disguise: shrink a bounded number of times."""
    DEAD = "dead"
    """The device or process is unusable: never retry."""
    OTHER = "other"
    """Everything else: the caller's own error, never retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReading:
    """One look at a memory, in bytes."""

    capacity: int
    """What this process could ever use: device total, cgroup limit or host total, whichever is smallest."""
    in_use: int
    """Live bytes now; caches that can be given back are not counted."""
    usable: int
    """What a new allocation could get now."""
    peak: int
    """The highest `in_use` seen so far by the backend; never lower than `in_use`."""
    pressure: float
    """0 (empty) to 1 (full); may exceed `in_use / capacity` where the system itself reports stalls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What a backend announces; made without importing its framework."""

    name: str
    """The name users write in `backend=`."""
    load: str
    """`package.module:Class`; called with no arguments when the backend is first used."""
    probe: Callable[[], str | None]
    """Returns None if the backend can run here, else the reason; must not import the framework."""
    priority: int = 0
    """`auto` takes the highest among those that can run and that own the inputs; `cpu` has 0."""
    modules: tuple[str, ...] = ()
    """Top-level modules of the array types it may own: `("torch",)`. Asked before anything is loaded."""
    operations: str = ""
    """`package.module` whose import lets the compiler of its framework call yield points; empty for none."""
    install: str = ""
    """The remedy, such as `pip install microbatch[torch]`."""
    summary: str = ""
    """One line for the listing."""
    api: int = API
    """Contract number this plugin was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInfo:
    """What a sizing policy announces."""

    name: str
    """The name users write in `policy=`."""
    load: str
    """`package.module:Class`; called with the options of the policy as keywords."""
    summary: str = ""
    """One line for the listing."""
    api: int = API
    """Contract number this plugin was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """A container type whose leaves shall be cut and put together.

    Without `flatten` and `unflatten` it is opened by the attributes that it stores, as a dataclass is.
    """

    type: str
    """`package.module:Class` of the container; loaded only once its module has been imported by somebody."""
    flatten: Callable[[Any], tuple[tuple[Any, ...], Any, tuple[str, ...]]] | None = None
    """container -> (children, auxiliary data, entry names)."""
    unflatten: Callable[[Any, tuple[Any, ...]], Any] | None = None
    """(auxiliary data, children) -> container."""
    subclasses: bool = False
    """Whether classes derived from it are opened so, too."""
    api: int = API
    """Contract number this plugin was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsInfo:
    """A type that has rows and is no array: a table, a labelled array, a sparse matrix.

    Classes derived from it are of its kind, too.
    """

    type: str
    """`package.module:Class`; looked for only once its module has been imported by somebody."""
    load: str
    """`package.module:Class` of the `Rows` for it; called with no arguments when the first one is met."""
    install: str = ""
    """What to do where that cannot be loaded, such as `pip install microbatch[tables]`."""
    summary: str = ""
    """One line for the table of what may go in and out."""
    api: int = API
    """Contract number this plugin was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingRequest:
    """All that a policy may know about the step to size. Sizes are in the batch's unit (see `unit`)."""

    num_tokens: int
    """Units in the whole batch: rows, tokens, or padded tokens when requests have lengths."""
    num_requests: int
    """Requests in the batch; equal to `num_tokens` when each row is its own request."""
    unit: str = "rows"
    """What one unit is: rows, tokens, or cost (longest length times number of requests, when packed)."""
    longest_request: int = 1
    """Units of the longest request: no part can be smaller than this."""
    bytes_per_unit: int = 0
    """Bytes of input per unit, over all leaves that are cut."""
    largest_bytes_per_unit: int = 0
    """Bytes per unit of the largest leaf that is cut; the size of one live array."""
    signature: str = ""
    """Row shapes and dtypes as text, and the unit where it is not rows: what was learned for one signature
    holds for that signature."""
    memory: MemoryReading | None = None
    """Reading of the device the step runs on; None when no reading can be had."""
    memory_limit: int | None = None
    """The user's limit in bytes, never above the reading's capacity; None when the user set none."""
    workers: int = 1
    """Threads that may run ubatches at the same time; 1 when the schedule is not parallel."""
    in_flight: int = 1
    """Ubatches alive at the same time (workers, or ring slots of a pipeline)."""
    graph_sizes: tuple[int, ...] = ()
    """Captured sizes in increasing order, empty without graphs."""
    num_ubatches: int = 2
    """The configured count, for policies that follow it."""
    max_tokens: int = 512
    """The configured budget per ubatch, for policies that follow it."""
    decode: bool = False
    """Whether every request has exactly one token (decode rather than prefill)."""
    step: int = 0
    """Number of the call of the wrapper, from 0; later calls like it may show the same request."""
    probe: bool = False
    """Whether a part that does not fit raises, and can be tried again smaller (a device); where it kills the
    process (host memory) a policy must not try what it does not know to fit."""
    few: bool = False
    """Whether parts may have few sizes, as the function is compiled anew for each: what is tried beyond the
    first ones is replaced by one of those."""
    paced: bool = False
    """Whether parts may be planned as the step goes, from the `start` of a proposal on."""
    limit: int | None = None
    """The most that a part may have already: the budget that the user set, and what the policies before this
    one in a chain said; None where the whole batch is allowed. A policy need not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A policy's answer."""

    limit: int | None = None
    """Most units in one ubatch, at least 1; None leaves the limit to the others of the chain. One beyond the
    batch is the batch."""
    count: int | None = None
    """In how many parts the step shall run, at least 1: exactly so many where the batch can fill them and no
    limit needs more; None leaves that to the limit. "Do not split" of another policy overrules it."""
    split: bool = True
    """False asks to run the batch whole; a memory bound of another policy overrules it."""
    reason: str = ""
    """Why, in a few words for the report."""
    workers: int | None = None
    """Fewer workers than allowed, when that is known to be faster."""
    start: int | None = None
    """Units of the first parts of a step whose later sizes follow the times of its parts, at least 1, where
    the request says that it may be `paced`; elsewhere it is a limit. None for parts that are all alike."""
    hard: bool = False
    """True for a bound that holds even where another policy of the chain asks not to split: memory, or a
    budget that the user set."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StepReport:
    """What one step did; the last one is `wrapper.last_report`. `print(report)` fits a screen."""

    step: int
    """Number of the call, from 0."""
    num_tokens: int
    """Units in the batch."""
    num_requests: int
    """Requests in the batch."""
    sizes: tuple[int, ...]
    """Units of each ubatch in row order; one entry when the batch was not cut. Of more than 1,024 ubatches,
    these are so many, spread evenly over the step, and the largest one."""
    seconds: float
    """Wall time of the whole step, cutting and gathering included."""
    ubatch_seconds: tuple[float, ...] = ()
    """Wall time of each of these ubatches, in row order; empty when the batch was not cut."""
    left_out: int = 0
    """How many ubatches more the step had."""
    unit: str = "rows"
    """What one unit is."""
    signature: str = ""
    """As in the request."""
    backend: str = ""
    """Name of the backend."""
    schedule: str = ""
    """Name of the schedule that ran: whole, sequential, parallel, pingpong or streamed; empty for the time of
    one ubatch that was measured elsewhere (`DynamicUBatchWrapper.record_timing`)."""
    policy: str = ""
    """Name of the policy, or of the chain."""
    reason: str = ""
    """Why the batch was cut so, or not cut."""
    limit: int | None = None
    """Most units in one ubatch that the planner allowed, or the largest part where a count of parts decided;
    None when nothing bounded it."""
    workers: int = 1
    """Threads that ran ubatches."""
    pace: tuple[tuple[int, float], ...] = ()
    """(units, seconds per unit of one part) as a step that was planned as it went has measured them, in order
    of the units, several times for some; empty for any other."""
    peak_bytes: int | None = None
    """Highest memory in use above the start of the step, where the backend measures it."""
    memory_before: MemoryReading | None = None
    """Reading at the start, None where none was taken."""
    padding_avoided: int = 0
    """Padded units that trimming saved against the whole padded batch."""
    oom_sizes: tuple[int, ...] = ()
    """Units of the attempts that ran out of memory, in order. The step may have succeeded with smaller parts:
    then `failure` is None, and the parts that ran had at most half of the smallest of these."""
    failure: FailureKind | None = None
    """How the step failed, None when it succeeded."""
    graph_hits: int = 0
    """Ubatches replayed from a captured graph."""
    graph_misses: int = 0
    """Ubatches that ran as they are although graphs were asked for; `reason` says why if that stays so."""
    graph_captures: int = 0
    """Graphs captured in this step."""
    calibration: bool = False
    """Whether times include set-up (first call, capture) and should not be learned from."""

    @property
    def num_ubatches(self) -> int:
        """How many ubatches the step had."""
        return len(self.sizes) + self.left_out

    @property
    def split(self) -> bool:
        """Whether the batch was cut."""
        return len(self.sizes) > 1

    @property
    def rows_per_second(self) -> float:
        """Requests per second of wall time; 0 for an empty or unmeasured step."""
        return self.num_requests / self.seconds if self.seconds > 0 else 0.0

    def __repr__(self) -> str:
        from microbatch.extend.report_text import line_of  # only where somebody looks

        return line_of(self)

    def __str__(self) -> str:
        from microbatch.extend.report_text import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from microbatch.extend.report_text import html_of

        return html_of(self)
