"""`microbatch races`: which wait is missing, and where."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from microbatch.cli.app import main

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

SOURCE = """
import torch

side = torch.cuda.Stream()

def unordered(x):
    y = torch.tensor(x).cuda() * 2
    with torch.cuda.stream(side):
        z = y + 1
    torch.cuda.current_stream().wait_stream(side)
    return z

def ordered(x):
    y = torch.tensor(x).cuda() * 2
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        z = y + 1
    torch.cuda.current_stream().wait_stream(side)
    y.record_stream(side)
    return z

def dropped(x):
    y = torch.tensor(x).cuda() * 2
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        z = y.sum(1)
    del y
    w = [torch.zeros(len(x), 3, device="cuda", dtype=torch.float64) for _ in range(2)]
    torch.cuda.current_stream().wait_stream(side)
    return z + w[0][:, 0] + w[1][:, 0]

def early(x):
    with torch.cuda.stream(side):
        return torch.tensor(x).cuda() * 2

def lookup(x):
    places = torch.arange(len(x), device="cuda")
    with torch.cuda.stream(side):
        return torch.nn.functional.embedding(places, torch.ones(len(x), 2, device="cuda")).cpu()

def fail(x):
    raise ValueError("no such model")
"""


def line_of(text: str) -> int:
    """Where that line first is."""
    return SOURCE.splitlines().index(text) + 1


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and its input, and the current one."""
    (tmp_path / "stream_steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 3)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def races(function: str, *more: str) -> int:
    """The command in this process."""
    return main(["races", f"stream_steps.py:{function}", "--input", "x.npy", *more])


def test_nothing_is_unordered(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0."""
    assert races("ordered") == 0
    assert "orders all that its streams do" in capsys.readouterr().out


def test_a_missing_wait_is_named_with_both_places(capsys: pytest.CaptureFixture[str]) -> None:
    """The line that writes, the line that reads, the two streams, and what would order them."""
    assert races("unordered") == 1
    said = capsys.readouterr().out
    assert f"stream_steps.py:{line_of('    y = torch.tensor(x).cuda() * 2')}: aten.mul" in said
    assert f"stream_steps.py:{line_of('        z = y + 1')}: aten.add" in said
    assert "record an event on stream 'default'" in said and "let stream 'stream0' wait for it" in said


def test_memory_that_is_dropped_too_early(capsys: pytest.CaptureFixture[str]) -> None:
    """Named as a reuse; the remedy is to keep the tensor."""
    assert races("dropped") == 1
    said = capsys.readouterr().out
    assert "reuses it" in said and "keep the array until" in said


def test_a_result_that_the_caller_cannot_wait_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The caller reads it on the stream that was current before the call."""
    assert races("early") == 1
    assert "outside of the function" in capsys.readouterr().out


def test_work_that_fails_for_want_of_a_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that were not written yet are no rows of a table; the race is told, not the error."""
    assert races("lookup") == 1
    assert "aten.embedding" in capsys.readouterr().out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The report as one object."""
    assert races("unordered", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 20
    (found,) = report["unordered"]
    assert found["first"]["does"] == "writes" and found["second"]["does"] == "reads"


def test_a_function_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and its own traceback."""
    assert races("fail") == 2
    assert "no such model" in capsys.readouterr().err
