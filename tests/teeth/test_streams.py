"""The faults of device steps: the table is true to the sources, and what is taken out is found."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from tests.support import cupy_steps, stream_steps
from tests.teeth.damaged_copies import Copies
from tests.teeth.stream_fault_table import FAULTS, IN_CUPY, Fault
from tests.teeth.stream_orders import models_of, wrong
from tests.teeth.streams import found_by

ROOT = Path(__file__).parents[2]
STEPS = (*stream_steps.STEPS, *cupy_steps.STEPS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.module} {fault.what}")
def test_each_fault_stands_once_in_its_file(fault: Fault) -> None:
    """And names steps that there are."""
    assert (ROOT / fault.path).read_text().count(fault.text) == 1
    assert fault.steps and set(fault.steps) <= set(STEPS)


def test_there_are_at_least_thirty() -> None:
    """Each of another kind or place."""
    assert len({(fault.path, fault.what) for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize("fault", [FAULTS[0], IN_CUPY[0]], ids=["torch", "CuPy"])
def test_one_is_found(fault: Fault) -> None:
    """`python -m tests.teeth.streams` tries all, under up to 100 orders each."""
    with Copies(1) as copies, copies.one() as copy:
        order, _ = found_by(copy, fault, orders=20)
        assert order is not None


@pytest.mark.parametrize("step", STEPS)
def test_sound_steps_are_never_wrong(step: str) -> None:
    """By values and by races, one model each; `--sound 2000` runs more."""
    number, names = STEPS.index(step), models_of(step)
    assert wrong(names[number % len(names)], step, number, recorded=True) == ""
