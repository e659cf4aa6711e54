"""On free-threaded Python the suite runs without a GIL, from its start (here) to its end (`conftest.py`)."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import HAS_GIL


def test_no_gil_where_python_was_built_without_one() -> None:
    if HAS_GIL:
        pytest.skip("this Python always has a GIL; `tox -e py314t` runs the suite on one that need not")
    assert not sys._is_gil_enabled(), "run it with PYTHON_GIL=0: an extension module switched the GIL on"
