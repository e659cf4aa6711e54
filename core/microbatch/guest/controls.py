"""What is ours of a wrapper, under `wrapper.microbatch`, and what a wrapper is made from.

Invariant: a wrapper has one attribute of its own, so that all other names are free for the wrapped thing. A
recipe holds nothing that runs: no thread, no engine, nothing that was learned. A copy is made from it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from microbatch.binding.call import parameter_names
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentTypeError
from microbatch.extend.records import StepReport
from microbatch.guest.compiled import is_compiled
from microbatch.guest.methods import Instances
from microbatch.loading.plugins import Plugins, default_plugins
from microbatch.options.fields import UBatchConfig
from microbatch.options.sources import Resolved
from microbatch.sizing.planning import Planner
from microbatch.sizing.policies import cap_set, policy_for, policy_names
from microbatch.sizing.together import together_of
from microbatch.step.engine import Engine
from microbatch.step.progress import Progress
from microbatch.step.wrapping import Wrapping
from microbatch.turns.ambient import Ambient
from microbatch.turns.barrier import MOST_PARTIES, UBatchBarrier
from microbatch.turns.runtime import Runtime, default_runtime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """What a wrapper is made from."""

    runnable: Callable[..., Any]
    """The wrapped thing."""
    resolved: Resolved
    """The options, and where each came from."""
    layout: Layout | None = None
    """Which leaf is what; None infers it from sizes."""
    progress: Progress | Literal[True] | None = None
    """Told how far each step is; True shows a bar."""
    ambient: Ambient | None = None
    """What is entered around each stretch of a ubatch."""
    plugins: Plugins | None = None
    """Where backends and policies come from; None for those that are installed."""
    runtime: Runtime | None = None
    """The seam for threads and time; None for that of this process."""
    memory_share: float = 1.0
    """Part of the device's capacity that a step may fill."""

    def __post_init__(self) -> None:
        if self.layout is not None and not isinstance(self.layout, Layout):
            raise ArgumentTypeError(
                f"layout is {type(self.layout).__name__}; pass "
                f"microbatch.Layout(inputs={{'mask': microbatch.tokens()}})"
            )
        if self.progress is not None and self.progress is not True and not callable(self.progress):
            what = f"progress is {type(self.progress).__name__}"
            raise ArgumentTypeError(f"{what}; pass a function of (done, total), or True for a bar")
        if self.ambient is not None and not callable(self.ambient):
            raise ArgumentTypeError(
                f"ambient is {type(self.ambient).__name__}; pass a function of (slice, ubatch_id) that"
                " returns a context manager"
            )
        if self.plugins is not None and not isinstance(self.plugins, Plugins):
            raise ArgumentTypeError(
                f"plugins is {type(self.plugins).__name__}; pass GivenBackends(...) or GivenPolicy(...) of"
                " microbatch.testing.given_plugins, or nothing for those that are installed"
            )


class Controls:
    """`wrapper.microbatch`: the options, the report and the engine of one wrapper."""

    __slots__ = (
        "__weakref__",
        "attribute",
        "barrier",
        "bound",
        "engine",
        "instances",
        "layout",
        "options",
        "recipe",
        "runtime",
    )

    def __init__(self, recipe: Recipe) -> None:
        """Raises UnknownNameError or BackendUnavailableError for a backend or policy that is not there."""
        self.recipe = recipe
        self.options: UBatchConfig = recipe.resolved.config
        """The options that count."""
        self.layout = recipe.layout
        """Which leaf is what, as given."""
        self.attribute = ""
        """Its name in the class that it is a method of; empty where it is none."""
        self.bound = False
        """Whether the wrapped thing is the method of an instance, which has that name."""
        self.instances: Instances[Controls] = Instances()
        """What the method of each instance has learned, where it is one."""
        self.runtime = recipe.runtime or default_runtime()
        self.engine = engine_of(recipe, self.runtime)
        # made here and not when first asked for, as two threads would make two
        self.barrier = UBatchBarrier(min(self.options.num_ubatches, MOST_PARTIES), self.runtime)
        # not the engine's method: it holds the function, and a function that holds its wrapper would live
        # for ever
        weakref.finalize(self, self.engine.remembering.close)

    @property
    def report(self) -> StepReport | None:
        """What the last finished call did; None before the first."""
        return self.engine.last_report

    def unwrap(self) -> Callable[..., Any]:
        """The wrapped thing itself."""
        return self.recipe.runnable

    def shutdown(self) -> None:
        """Stop the worker threads; calls after it raise ClosedError."""
        self.engine.shutdown()

    def of(self, instance: object, method: Any) -> Controls:
        """Those of `method`, which is the wrapped method as `instance` has it."""
        kept = self.instances.of(instance, method, self._for)
        seen = object.__new__(Controls)
        for name in Controls.__slots__[1:]:
            setattr(seen, name, getattr(kept, name))
        seen.recipe = replace(self.recipe, runnable=method)
        seen.attribute, seen.bound = self.attribute or method.__name__, True
        return seen

    def _for(self, runnable: Callable[..., Any]) -> Controls:
        return Controls(replace(self.recipe, runnable=runnable))

    def __repr__(self) -> str:
        return f"<what microbatch knows of {self.unwrap()!r}: options, layout, report, unwrap(), shutdown()>"


def engine_of(recipe: Recipe, runtime: Runtime) -> Engine:
    """The engine that runs the steps of a new wrapper."""
    resolved, config = recipe.resolved, recipe.resolved.config
    known, together = recipe.plugins or default_plugins(), together_of(resolved)
    known.register_containers()
    size = config.thread_pool_size
    wrapping = Wrapping(
        function=recipe.runnable,
        config=config,
        plugins=known,
        runtime=runtime,
        layout=recipe.layout,
        names=parameter_names(recipe.runnable),
        progress=recipe.progress,
        threads=size if together is None else max(size, together.most),
        ambient=recipe.ambient,
        policy=",".join(policy_names(resolved)),
        patience=config.barrier_timeout if resolved.explicit("barrier_timeout") else None,
    )
    policy, cap = policy_for(resolved, known), cap_set(resolved)
    planner = Planner(
        policy,
        config,
        memory_share=recipe.memory_share,
        cap=cap,
        together=together,
        few=config.shapes == "few" or (not resolved.explicit("shapes") and is_compiled(recipe.runnable)),
    )
    return Engine(wrapping, planner)
