"""Every tuned number of the memory policy in one table: what it is, and what was measured.

Invariant: no other file of this package has a tuned number. A budget is bytes that a step may use.
"""

from __future__ import annotations

# Before two sizes were seen (memory_kind.py)
UNSEEN = 64
"""Bytes of peak assumed per byte of input before anything ran."""
UNMEASURED = 16
"""The same once a step ran and its peak could not be measured."""

# The answer of the fit (memory_kind.py)
TRUST = 8
"""Largest factor by which a size may exceed all that ran."""
EARLY = 8
"""Peaks up to which a bound of `EARLY_RISK` is enough, where a failure can be tried again: a bound from few
peaks is wide, and each size that it allows makes the next one tighter."""
EARLY_RISK = 0.1
"""Chance that a peak exceeds the bound then."""
SETTLED = 16
"""Peaks from which the model is solved anew (25 us) for every fourth one only, unless one surprises it."""
SPREAD = 2
"""Factor between largest and smallest size seen, below which a fit says nothing of far smaller ones."""
SPARE = 1.1
"""Factor of its own peak that the budget must have for a size that ran to be taken whatever the fit says."""
SPARE_TRIED = 1.02
"""The same where a failure can be tried again. Three of eight traces of `benchmarks sizing` had two peaks,
both near the limit, and no later one rose above their mark: they stayed at 0.89 of what fits, and reach 0.94
so."""
MISSES = 32
"""Prediction errors kept for the margin."""
NEEDS = 256
"""Sizes of batches of one signature for which the memory of the whole batch is remembered."""

# The fit itself (least_squares.py)
NOISE = 0.05
"""Relative noise assumed while there are no more peaks than coefficients."""
LEAST_NOISE = 1e-3
"""Relative noise below which no fit is believed to be: allocators round."""
RIDGE = 1e-10
"""Relative weight that keeps columns apart that were always proportional (whole batches: x = N)."""

# What failed (bracket.py)
LIFE = 64
"""Steps for which a failed size is believed."""
LONGEST = 1024
"""Most steps for which it is believed."""
GAP = 1.05
"""A failed size this close above one that fits is close enough: nothing between is tried."""
GROWN = 1.125
"""A budget larger by this factor than at the failure ends the belief."""
