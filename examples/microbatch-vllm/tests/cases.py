"""The cases, as bodies that call the yield points of a module of vLLM's shape.

Each says how its step ends where the hand-off is right. A body gives its own number as its output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A step and its end."""

    yields: tuple[int, ...]
    """How often each ubatch yields; so many ubatches there are."""
    raises: int | None = None
    """The ubatch that raises ValueError after its yields."""
    hooks: frozenset[int] = field(default_factory=frozenset)
    """Ubatches that leave a receive hook for the next one after each of their yields."""

    @property
    def expected(self) -> str:
        """What `outcome` gives."""
        if self.raises is not None:
            return f"Microbatch {self.raises} of {len(self.yields)} failed: ValueError('boom')"
        return f"outputs {list(range(len(self.yields)))}, hooks {sum(self.yields[i] for i in self.hooks)}"

    def bodies(self, module: Any, ran: list[int]) -> list[Body]:
        """What the ubatches run; hooks add the number of who left them to `ran`."""

        def body(index: int) -> int:
            for _ in range(self.yields[index]):
                module.dbo_yield()
                if index in self.hooks:
                    module.dbo_register_recv_hook(lambda: ran.append(index))
            if index == self.raises:
                raise ValueError("boom")
            return index

        return [lambda index=index: body(index) for index in range(len(self.yields))]  # type: ignore[misc]


CASES = {
    "equal yields": Case(yields=(3, 3)),
    "unequal yields": Case(yields=(2, 4)),
    "three ubatches": Case(yields=(2, 2, 3)),
    "an error after one yield": Case(yields=(1, 3), raises=0),
    "a hook for a sibling that left": Case(yields=(3, 1, 3), hooks=frozenset({0})),
    "the same with two ubatches": Case(yields=(3, 1), hooks=frozenset({0})),
}


def outcome(runner: Any, module: Any, case: Case) -> str:
    """How the step of `case` ends, as text."""
    ran: list[int] = []
    try:
        outputs = runner.second_runner(case.bodies(module, ran))
    except RuntimeError as error:
        return f"{error}: {error.__cause__!r}"
    return f"outputs {outputs}, hooks {len(ran)}"
