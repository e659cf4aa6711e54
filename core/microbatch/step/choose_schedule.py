"""Which schedule a step runs under, and why.

Invariant: `auto` picks `parallel` only for functions that may run so; a schedule the user names is used as
named. Where ranks run each step together no parts run side by side: which of them reaches a collective first
differs from rank to rank, so that parts of different rows would meet there.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from microbatch.errors import ArgumentValueError, UnknownNameError, near_match
from microbatch.extend.abilities import Ranks
from microbatch.extend.protocols import Backend
from microbatch.options.fields import SCHEDULES
from microbatch.proof.module_modes import StateWatch
from microbatch.schedules.step import Schedule
from microbatch.step.wrapping import Wrapping


def load_schedule(name: str) -> Schedule:
    """The schedule called `name`; its module is imported when first asked for."""
    if name not in SCHEDULES or name == "auto":
        raise UnknownNameError(f"no schedule {name!r};{near_match(name, SCHEDULES)}")
    return cast("Schedule", import_module(f"microbatch.schedules.{name}").run)


def choose_schedule(
    wrapping: Wrapping, backend: Backend, watch: StateWatch, cores: int, ranks: Ranks | None = None
) -> tuple[str, str]:
    """Return (name, reason); the reason is empty when there is nothing to tell the user.

    `cores` is what this process may use; `parallel` on one core only adds hand-offs. `ranks` are those of the
    process group, None outside of one. Raises ArgumentValueError for `parallel` where they agree.
    """
    config = wrapping.config
    if not config.enable_overlap:
        return "sequential", "overlap is off"
    if config.schedule == "parallel" and ranks is not None and config.ranks == "agree":
        raise ArgumentValueError(
            f"schedule is 'parallel', and this process is one of {ranks.size} ranks: parts that run side by"
            " side would meet other parts in a collective, and give wrong numbers; name 'sequential',"
            " 'pingpong' or 'streamed', or pass ranks='independent' where the function does not communicate"
        )
    if config.schedule != "auto":
        return config.schedule, ""
    if not backend.parallel:
        return "sequential", ""
    if ranks is not None:
        return "sequential", f"not in parallel: one of {ranks.size} ranks"
    if min(config.thread_pool_size, cores) < 2:
        return "sequential", "one thread to run on"
    reason = _why_sequential(wrapping) or watch.why_sequential()
    return ("sequential", f"not in parallel: {reason}") if reason else ("parallel", "")


def _why_sequential(wrapping: Wrapping) -> str:
    """Why ubatches must not run side by side, as far as the caller said; empty where they may."""
    if not wrapping.config.thread_safe:
        return "thread_safe=False"
    return "" if wrapping.ambient is None else "threads share what ambient= sets"
