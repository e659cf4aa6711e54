"""What sizes depend on besides the batch: parts alive at a time, and what the device lets a policy try.

Invariant: nothing is tried to failure on a host (its process is killed), nor by one rank of several (the
others wait in a collective). While nothing changes the same record comes back: a planner sees it by identity.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.extend.abilities import Ranks
from microbatch.extend.device import Device
from microbatch.schedules.streamed import SLOTS


class Conditions(Struct, frozen=True, kw_only=True):
    """What holds for one step."""

    workers: int = 1
    """Threads that may run parts at the same time."""
    in_flight: int = 1
    """Parts that are alive at the same time."""
    graph_sizes: tuple[int, ...] = ()
    """Rows that have, or will have, a captured graph, in increasing order; empty without graphs."""
    probe: bool = False
    """Whether a part that does not fit raises and can be tried again."""
    paced: bool = False
    """Whether parts may be planned as the step goes: each runs on its own, and its time says how long it
    took."""


ALONE = Conditions()
"""One part at a time on a host."""


class ConditionsOf:
    """The conditions of each kind of step of one wrapper."""

    def __init__(self, workers: int, graph_sizes: tuple[int, ...] | None) -> None:
        """`workers` are those of a parallel step; `graph_sizes` is None where graphs are off."""
        self._workers = workers
        self._graph_sizes = graph_sizes or ()
        self._known: dict[tuple[str, bool, bool, bool], Conditions] = {}

    def step(self, device: Device, schedule: str, ranks: Ranks | None = None) -> Conditions:
        """The conditions of a step on the calling thread's device, which `ranks` run together."""
        probe = ranks is None and device.probe is not None and device.may_probe()
        apart = ranks is None and schedule in ("parallel", "sequential") and not device.backend.asynchronous
        key = (schedule, device.graphs is not None, probe, apart)
        return self._known.get(key) or self._known.setdefault(key, self._made(*key))

    def _made(self, schedule: str, graphs: bool, probe: bool, apart: bool) -> Conditions:
        workers = self._workers if schedule == "parallel" else 1
        return Conditions(
            workers=workers,
            in_flight=SLOTS if schedule == "streamed" else workers,
            graph_sizes=self._graph_sizes if graphs else (),
            probe=probe,
            paced=apart and not (graphs and self._graph_sizes),
        )
