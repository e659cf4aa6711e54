"""Against what users would pick instead: hand loops, compilers, sizes by hand. `python -m benchmarks peers`.

Default settings of ours, nothing told. Every row is measured in turns with what it stands against, and says
what was possible: the rival's time is in its details. A rival that is not installed is a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import expansion, peer_black_scholes, peer_chain, per_sample
from benchmarks.installed import missing, unless
from benchmarks.table import Row


def table() -> Sequence[Row]:
    """All rows; what needs torch is left out without it."""
    without = missing("torch")
    return [
        *peer_black_scholes.rows(),
        *unless(without, peer_chain.WORK, "hand loops and `torch.compile`", peer_chain.rows),
        *expansion.rows(),
        *unless(without, "per-sample gradients", "`vmap`", per_sample.rows),
    ]
