"""How many ubatches that take turns are alive at the same time, each on a thread of its own.

Invariant: no step has more threads than `thread_pool_size`. What is more than that takes turns in groups, one
group after the other. So a number of parts that was asked for is what runs, and a limit never yields to the
number of threads: larger parts would not fit. A number that only a policy asks for is lowered to it, since
parts of other groups do not overlap. The default of 4 gives way to a number that was set, as nobody chose it,
and the function may wait for all of them.

Rejected: fewer and larger parts than a limit allows (200,000 rows in parts of at most 512 would be 4 parts of
50,000), an error where `num_ubatches` is above `thread_pool_size` (both can be kept), and groups as small as
there happen to be idle threads, since several ranks must run their collectives in the same order.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from microbatch.options.sources import Resolved


class Together(Struct, frozen=True, kw_only=True):
    """The bounds of one wrapper."""

    most: int
    """Ubatches of a step that may be alive at the same time."""
    asked: int
    """How many parts the user asked for; 1 where no number was set."""
    fixed: bool
    """Whether the user set the number of threads: slices that are named do not raise it then."""

    @property
    def parts(self) -> int:
        """The most parts that a policy's number makes."""
        return max(self.most, self.asked)

    def for_slices(self, count: int) -> Together:
        """The bounds of a step whose `count` slices the caller named."""
        return self if self.fixed else replace(self, most=max(self.most, count))

    def note(self, parts: int) -> str:
        """What the report says of a step in so many parts; mostly nothing."""
        return f"{self.most} at a time taking turns" if parts > self.most else ""


def together_of(resolved: Resolved) -> Together | None:
    """The bounds for these options; None where no ubatches take turns on threads."""
    config = resolved.config
    if config.schedule != "pingpong" or config.driver != "threads" or not config.enable_overlap:
        return None
    size, fixed = config.thread_pool_size, resolved.explicit("thread_pool_size")
    asked = config.num_ubatches if resolved.explicit("num_ubatches") else 1
    return Together(most=size if fixed else max(size, asked), asked=asked, fixed=fixed)
