"""Functions and modules of torch on files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.cli.app import main

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
SOURCE = """
import torch


def relu(x):
    assert isinstance(x, torch.Tensor)
    x -= 1  # the file stays as it is
    return torch.nn.functional.relu(x)


class Scaled(torch.nn.Module):
    made = 0

    def __init__(self, width=3, bias=True, name="a"):
        super().__init__()
        Scaled.made += 1
        assert Scaled.made == 1
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, width, bias=bias)
        self.drop = torch.nn.Dropout(0.5)
        self.name = name

    def forward(self, x):
        assert not torch.is_grad_enabled()
        return self.drop(self.layer(x)) + len(self.name)


module = torch.nn.Linear(3, 2)


class Times:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and an input of single precision."""
    (tmp_path / "torch_steps.py").write_text(SOURCE)
    x = np.random.default_rng(0).normal(size=(500, 3)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "big_endian.npy", x.astype(">f4"))
    np.savez(tmp_path / "x.npz", x=x)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "torch_steps", raising=False)
    return tmp_path


@pytest.mark.parametrize("source", ["x.npy", "big_endian.npy", "x.npz"])
@pytest.mark.parametrize("output", ["y.npy", "y.npz", "y.parquet", "y.jsonl"])
def test_parts_are_tensors(folder: Path, source: str, output: str) -> None:
    """Without a warning, although a mapped file cannot be written to; the file stays as it is."""
    if output == "y.parquet":
        pytest.importorskip("pyarrow")
    before = (folder / source).read_bytes()
    words = ["run", "torch_steps.py:relu", "-i", source, "-o", output, "--backend", "torch-cpu", "--quiet"]
    assert main(words) == 0
    expected = np.maximum(np.load("x.npy") - 1, 0)
    if output == "y.npy":
        np.testing.assert_array_equal(np.load(output), expected)
    elif output == "y.jsonl":
        found = [json.loads(line) for line in Path(output).read_text().splitlines()]
        np.testing.assert_allclose(found, expected)
    assert (folder / source).read_bytes() == before


def test_a_module_needs_no_backend(folder: Path) -> None:
    """Its rows are tensors on its device, nothing is recorded, and the result has no gradient."""
    assert main(["run", "torch_steps.py:module", "-i", "x.npy", "-o", "y.npy", "--quiet"]) == 0
    assert np.load("y.npy").shape == (500, 2)
    assert main(["check", "torch_steps.py:module", "-i", "x.npy", "--quiet"]) == 0


def test_a_class_is_made_once(folder: Path) -> None:
    """With its arguments, as numbers where they are numbers; a module does not drop anything out."""
    words = ["run", "torch_steps.py:Scaled", "-i", "x.npy", "-o", "y.npy", "--quiet"]
    assert main([*words, "--arg", "width=4", "--arg", "bias=false", "--arg", "name=abc"]) == 0
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 4, bias=False)
    expected = layer(torch.from_numpy(np.load("x.npy"))).detach().numpy() + 3
    np.testing.assert_allclose(np.load("y.npy"), expected, rtol=1e-4, atol=1e-5)


def test_a_plain_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what is wrong with its arguments."""
    words = ["run", "torch_steps.py:Times", "-i", "x.npy", "-o", "y.npy", "--quiet"]
    assert main([*words, "--arg", "factor=2.5"]) == 0
    np.testing.assert_array_equal(np.load("y.npy"), np.load("x.npy") * 2.5)
    assert main(words) == 2
    assert "torch_steps.py:Times cannot be made: TypeError: " in capsys.readouterr().err
    assert main([*words, "--arg", "factor"]) == 2
    assert "--arg 'factor' is not key=value" in capsys.readouterr().err
