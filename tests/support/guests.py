"""Plugins whose code raises what a test wants it to, wherever it is called.

Invariant: while nothing is set in `Thrower`, each of them works.
"""

from __future__ import annotations

import asyncio
from typing import Any

from microbatch.extend.hookspecs import hookimpl
from microbatch.extend.records import PolicyInfo, Proposal, SizingRequest, StepReport


class Quit(BaseException):
    """What some framework or test tool of its own may use."""


RAISED = (SystemExit, GeneratorExit, asyncio.CancelledError, Quit, ValueError)
"""What a guest may raise that is no Ctrl-C."""


class Thrower:
    """What the plugins of this module raise; a test sets it."""

    raises: type[BaseException] | None = None


def throw() -> None:
    """Raise it, if any is set."""
    if Thrower.raises is not None:
        raise Thrower.raises("its own trouble")


class GuestBackend:
    """Lacks nothing that `owns` needs; raises where it is made."""

    name = "guest"

    def __init__(self) -> None:
        throw()

    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


class Nosy(GuestBackend):
    """Raises where somebody looks at what it has."""

    def __init__(self) -> None: ...

    @property
    def memory(self) -> Any:
        return throw()


class Reluctant(GuestBackend):
    """Raises where it is asked whether it owns an array."""

    def __init__(self) -> None: ...

    def owns(self, array: object) -> bool:
        throw()
        return True


class GuestPolicy:
    """Raises in whatever it is asked."""

    def propose(self, request: SizingRequest) -> Proposal:
        throw()
        return Proposal()

    def observe(self, report: StepReport) -> None:
        throw()

    def state(self) -> dict[str, Any]:
        throw()
        return {}

    def restore(self, state: Any) -> None:
        throw()


class Unspeakable:
    """Raises where it is shown, where it counts as a number, and where it is compared."""

    def __repr__(self) -> str:
        throw()
        return "unspeakable"

    def __index__(self) -> int:
        throw()
        return 1

    def __eq__(self, other: object) -> bool:
        throw()
        return False

    __hash__ = None  # type: ignore[assignment]


class Answering(GuestPolicy):
    """Answers with a size that raises where it is looked at."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=Unspeakable())  # type: ignore[arg-type]


class Offering:
    """A plugin that announces `backends`, `policies` and `containers`."""

    def __init__(self, backends: Any = (), policies: Any = (), containers: Any = ()) -> None:
        self.backends, self.policies, self.containers = backends, policies, containers

    @hookimpl
    def microbatch_register_backends(self) -> Any:
        return self.backends

    @hookimpl
    def microbatch_register_policies(self) -> Any:
        return self.policies

    @hookimpl
    def microbatch_register_containers(self) -> Any:
        return self.containers


class Raising:
    """A plugin whose hooks all raise."""

    @hookimpl
    def microbatch_register_backends(self) -> Any:
        return throw()

    @hookimpl
    def microbatch_register_policies(self) -> Any:
        yield PolicyInfo(name="half", load=f"{__name__}:GuestPolicy")
        throw()

    @hookimpl
    def microbatch_register_containers(self) -> Any:
        return throw()


class Listening:
    """A plugin that raises at every step."""

    @hookimpl
    def microbatch_step_finished(self, report: StepReport) -> None:
        throw()


class Incomparable(Raising):
    """A plugin that cannot be compared, shown, named or looked at."""

    def __eq__(self, other: object) -> bool:
        throw()
        return False

    __hash__ = None  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        throw()
        return object.__getattribute__(self, name)
