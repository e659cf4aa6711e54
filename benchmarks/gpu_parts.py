"""What `python -m benchmarks gpu --all` runs, in this order: first whether anything works, then how fast.

Invariant: each part has a share of the time of its own, and the shares make 100 %. So the whole run ends in
time whatever its parts do, and a part that hangs takes nothing from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PARTS", "Framework", "Part", "part_called"]

Framework = Literal["torch", "cupy"]
"""What a part cannot do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part, which runs in a process of its own."""

    name: str
    """What people call it."""
    work: str
    """Its function, as `module:function`: from a scale and `arguments` it makes rows."""
    share: float
    """Percent of the whole time."""
    needs: Framework | None = "torch"
    """The framework whose device it runs on; None where it asks for the devices themselves."""
    arguments: tuple[str, ...] = ()
    """What its function is given besides."""

    @property
    def is_timed(self) -> bool:
        """Whether its figures are times, which mean nothing on a simulated device."""
        return self.work.startswith(f"{ROWS}:")

    @property
    def is_tests(self) -> bool:
        """Whether it is tests, which set up a simulated device themselves, one for each."""
        return self.work.endswith(":tests")


CHECKS, ROWS = "benchmarks.gpu_checks", "benchmarks.gpu"
CAPTURES = "graph or capture or replay"
"""Tests of these words are the part `graphs`; the others of the same file the part `pitfalls`."""
TORCH_PITFALLS = "tests/gpu/test_pitfalls_torch.py"

PARTS: tuple[Part, ...] = (
    Part(name="devices", work=f"{CHECKS}:devices", share=5, needs=None),
    Part(name="smoke: torch-cuda", work=f"{CHECKS}:smoke", share=4, arguments=("torch-cuda",)),
    Part(name="smoke: cupy", work=f"{CHECKS}:smoke", share=4, needs="cupy", arguments=("cupy",)),
    Part(name="conformance: torch-cuda", work=f"{CHECKS}:tests", share=9,
         arguments=("tests/gpu/test_conformance.py", "-k", "TestTorchCuda")),
    Part(name="conformance: cupy", work=f"{CHECKS}:tests", share=6, needs="cupy",
         arguments=("tests/gpu/test_conformance.py", "-k", "TestCupy")),
    Part(name="pitfalls: torch-cuda", work=f"{CHECKS}:tests", share=8,
         arguments=(TORCH_PITFALLS, "-k", f"not ({CAPTURES})")),
    Part(name="pitfalls: cupy", work=f"{CHECKS}:tests", share=5, needs="cupy",
         arguments=("tests/gpu/test_pitfalls_cupy.py",)),
    Part(name="graphs", work=f"{CHECKS}:tests", share=7,
         arguments=(TORCH_PITFALLS, "tests/gpu/test_decode_graphs.py", "-k", f"{CAPTURES} or decode")),
    Part(name="out of memory", work=f"{CHECKS}:out_of_memory", share=4),
    Part(name="copies beside compute", work=f"{ROWS}:transfers", share=9),
    Part(name="hand-off", work=f"{ROWS}:hand_off", share=5),
    Part(name="dual batch", work=f"{ROWS}:overlap", share=6),
    Part(name="captured against eager", work=f"{ROWS}:graphs", share=6),
    Part(name="first step out of memory", work=f"{ROWS}:small_memory", share=4),
    Part(name="size search", work="benchmarks.gpu_sizing:searches", share=6),
    Part(name="MiniLM", work=f"{ROWS}:texts", share=8),
    Part(name="CuPy chain", work=f"{ROWS}:pipeline", share=4, needs="cupy"),
)  # fmt: skip
"""In the order in which they run."""


def part_called(name: str) -> Part:
    """The part of that name; KeyError where there is none."""
    return {part.name: part for part in PARTS}[name]
