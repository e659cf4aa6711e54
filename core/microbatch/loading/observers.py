"""Telling observers of a finished step.

Invariant: what an observer raises reaches neither the step nor the other observers. Each observer is
complained of once, so that one that fails in every step does not fill a log.
"""

from __future__ import annotations

import contextlib

from microbatch.errors import warn
from microbatch.extend.records import StepReport
from microbatch.loading.discovery import DiscoveredPlugin
from microbatch.loading.registry import Registry


def tell(registry: Registry, report: StepReport) -> None:
    """Call every observer with `report`, or with nothing where it takes nothing."""
    for observer in registry.observers:
        try:
            observer.call(*[report for _ in observer.arguments])
        except Exception as error:  # noqa: BLE001 - the step is done and must reach its caller
            problem = f"microbatch_step_finished raised {type(error).__name__}: {error}"
            _complain(registry, observer.source, problem)


def _complain(registry: Registry, source: DiscoveredPlugin, problem: str) -> None:
    """Write a problem down and warn of it, the first time; never raises, even with warnings as errors."""
    if source in registry.complained:
        return
    registry.complained.add(source)
    registry.report(source, problem)
    with contextlib.suppress(RuntimeWarning):
        warn(f"plugin {source.name!r} ({source.origin}): {problem}", RuntimeWarning)
