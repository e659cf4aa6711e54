"""The table of pairs that needs neither torch nor anything else; those of torch are in `pairs_torch.py`."""

from __future__ import annotations

from tests.core.proof.pair import Pair
from tests.core.proof.pairs_hidden import HIDDEN
from tests.core.proof.pairs_kept import KEPT, TOLD
from tests.core.proof.pairs_lists import LISTS
from tests.core.proof.pairs_mixing import MIXING
from tests.core.proof.pairs_outputs import OUTPUTS
from tests.core.proof.pairs_random import RANDOM
from tests.core.proof.pairs_rows import ROWS
from tests.core.proof.pairs_sizes import SIZES
from tests.core.proof.pairs_written import WRITTEN

PAIRS: tuple[Pair, ...] = (
    *ROWS,
    *MIXING,
    *LISTS,
    *HIDDEN,
    *OUTPUTS,
    *WRITTEN,
    *KEPT,
    *TOLD,
    *RANDOM,
    *SIZES,
)
