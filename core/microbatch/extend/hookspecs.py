"""The four hooks of the `microbatch` entry-point group; all are called at set-up or once per step.

Invariant: a hook returns or receives frozen records, never an array, stream or event. Hooks say who is there;
work goes through the protocols.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo, StepReport

PROJECT = "microbatch"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def microbatch_register_backends() -> Sequence[BackendInfo]:  # type: ignore[empty-body]
    """Announce backends. Called once, when backends are first listed or looked up."""


@hookspec
def microbatch_register_policies() -> Sequence[PolicyInfo]:  # type: ignore[empty-body]
    """Announce sizing policies. Called once, when policies are first listed or looked up."""


@hookspec
def microbatch_register_containers() -> Sequence[ContainerInfo]:  # type: ignore[empty-body]
    """Announce container types whose leaves are cut and put together. Called once, at the first wrap."""


@hookspec
def microbatch_step_finished(report: StepReport) -> None:
    """Observe a finished step: numbers only, once per step, after all of its threads have left it."""
