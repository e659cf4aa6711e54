"""Every tuned number of the speed policies in one table: what it is, and what was measured.

Invariant: no other file of this package has a tuned number. Times are seconds; "best" is the least seconds
per unit.
"""

from __future__ import annotations

# The first size of a batch (first_size.py)
TARGET_BYTES = 1 << 20
"""Bytes of the largest input array of a part. 0.5 to 2 MiB are best on cores with 1 MiB of L2 cache."""
FIRST_PARTS = 256
"""Parts of a first step. Nearest neighbours of 8192 x 64 floats among 16384 points need 25 MiB then, 97 MiB
in 64 parts, 1031 MiB in one."""
PACED_ROWS = 512
"""Rows from which the sizes of a first step may follow the times of its parts: fewer do not give enough."""
MOST_PACED = 16
"""Its largest part is at most this part of the batch."""
FIRST_PARTS_FEW = 64
"""The same for functions that are compiled for each size. One call of JAX takes 0.1 to 0.3 ms beside its
work; 20,000 rows of attention to 2,048 points took 280 ms in 313 parts, 232 ms in 79 and 173 ms in 20."""
LEAST_ROWS = 32
"""Rows below which a part is not made smaller for that: a matrix product reads its weights once per part."""
LEAST_BYTES = 8 << 10
"""Bytes of input below which a part is not made smaller for that."""
TINY_BYTES = 256 << 10
"""Batches with less input than this are run whole first."""
COST_START = 8192
"""First size in cost units (characters of text), about 1,600 tokens of English. MiniLM over the prose of the
Python topics on two workers: 1,000 units 1.78 s, 2,000 1.76 s, 4,000 1.64 s, 8,000 1.61 s, 16,000 1.72 s."""

# The search over sizes (unimodal_search.py, size_search.py)
MOST = 8
"""Sizes that are measured at most."""
STRIDE = 2
"""Doublings of a stride, where eight sizes suffice with that."""
NEAR = 0.05
"""Part of the best time by which a size may be slower and still be taken; the smallest of these is."""
MOST_NEAR = 0.99
"""Largest value of that option."""
GAIN = 1.03
"""Factor by which fewer workers must be faster than all, and a larger size than a smaller one."""
CUT_GAIN = 1.08
"""Factor by which cutting must be faster than the whole batch. Times of the whole batch move by more than 5 %
as its memory is kept or given back: with 1.03 a ConvNeXt was cut and took 1.1 times as long, a product of
matrices 1.05 times."""
HOPE = 1.6
"""Factor by which the largest part may be slower than the best, and the whole batch is still measured. The
whole batch has the framework's own threads, a part has one, so parts do not tell: for a matrix product the
largest part took 44 ms, the best part 29 ms, and the whole batch 29 ms."""
FAR = 4
"""Doublings between the largest measured part and the largest possible one, from which a part between them is
measured before the whole batch."""
KEPT = 5
"""Times kept of each size."""
SHORT = 3e-4
"""A step that takes less than this is not searched: handing it to threads costs a tenth of it."""

# First times that may say too little (size_search.py, steady_seconds.py)
UNEVEN = 1.15
"""Factor by which a first time must exceed the time without its slow parts to be doubted."""
COLD = 4.0
"""Factor of the best up to which a doubted first time is measured again. A chain of 8 torch operations took
57 ms on two workers; on one it took 119 ms the first time and 31 ms from then on."""
FEW = 4
"""Fewer parts than this do not tell which of them were slow."""
COLDEST = 4.0
"""Factor by which a step with so few parts may be slower than the next one."""

# Fewer workers (fewer_workers.py, speed_kind.py)
PROMISING = 1.1
"""Factor of the best up to which a number of workers is still looked at, with another size."""
SECOND_CHANCE = 2.5
"""The same where it was measured once: its first run starts the framework's own threads."""
CLOSE = 1.15
"""Factor by which one worker may be slower than all of them, and the whole batch is tried in place of a size
that a first step found."""
MOST_SIZES = 4
"""Sizes measured with each number of workers."""

# Settled steps (challenges.py, speed_kind.py, throughput.py)
SPENT = 0.05
"""Part of settled steps that may be spent on trying others."""
SPENT_LESS = 2.0
"""That part is no more than this divided by the settled steps so far."""
FIRST_CREDIT = 1.0
"""Settled steps that may be spent at once."""
SURE, RATIOS = 3, 5
"""Ratios from which a rival is known, and how many of the last ones count."""
LEAST_COST = 0.2
"""What each try of a rival costs at least, as a part of a settled step. Parts of two sizes in turns cost more
than each of them alone (`paced_sizes.py`)."""
NEIGHBOUR = 1.1
"""Ratio that is thought of a size next to the settled one that was never measured."""
TINY_STEP = 1e-3
"""A tiny batch that takes less than this whole is never cut."""
WARM = 0.5
"""A first call that takes this long counts, although it is cold."""
ANSWERS = 1024
"""Settled answers remembered."""
