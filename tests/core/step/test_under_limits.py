"""Under a real limit, in a process of its own, the plain call dies and the wrapped one answers.

These are drawn cases that once failed; `tests/campaign/limits.py` draws others.
"""

from __future__ import annotations

import sys

import pytest

from tests.support.limited_memory import Case, run_case, why_no_groups
from tests.support.limited_memory.functions import TORCH

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems hold no process to such limits"
)

MIB = 1 << 20
IN_ADDRESS_SPACE = {
    "a second result in halves": Case(
        kind="wide_result", seed=769949150, rows=500_000, room=84 * MIB, schedule="pingpong", num_ubatches=2
    ),
    "room for some threads": Case(
        kind="softmax", seed=577662261, rows=29_676, room=150 * MIB, schedule="pingpong", num_ubatches=4
    ),
}
IN_GROUP = {
    "a pipeline": Case(kind="expansion", seed=651328766, rows=4000, room=60 * MIB, schedule="streamed"),
    "few rows that need much": Case(kind="differences", seed=557975189, rows=300, room=70 * MIB, calls=3),
    "ubatches that take turns": Case(
        kind="chain", seed=921032232, rows=2_000_000, room=78 * MIB, schedule="pingpong", num_ubatches=2
    ),
}


@pytest.mark.parametrize("name", IN_ADDRESS_SPACE)
def test_a_call_in_a_limited_address_space_is_answered(name: str) -> None:
    """Where memory is refused."""
    case = IN_ADDRESS_SPACE[name]
    if case.kind in {maker.__name__ for maker in TORCH}:
        pytest.importorskip("torch")
    check(case, in_group=False)


@pytest.mark.parametrize("name", IN_GROUP)
def test_a_call_in_a_control_group_is_answered(name: str) -> None:
    """Where whoever takes too much is killed."""
    if reason := why_no_groups():
        pytest.skip(reason)
    check(IN_GROUP[name], in_group=True)


def check(case: Case, *, in_group: bool) -> None:
    """Raise AssertionError unless the plain call dies and the wrapped one answers."""
    ending = run_case(case, in_group=in_group)
    assert ending.plain_died, f"the plain call fitted, so this shows nothing: {ending.text}"
    assert ending.right, ending.text
