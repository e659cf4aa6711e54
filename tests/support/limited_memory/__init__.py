"""Calls under a real limit of memory, in processes of their own: drawn cases, the child, and how it ended.

`run_case(draw(Random(number)), in_group=False)` is one case; `Ending.right` says whether the wrapped function
answered.
"""

from tests.support.limited_memory.cases import Case, draw
from tests.support.limited_memory.groups import why_no_groups
from tests.support.limited_memory.runs import Ending, run_case

__all__ = ["Case", "Ending", "draw", "run_case", "why_no_groups"]
