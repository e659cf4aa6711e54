"""The notebook of the site runs: its cells everywhere, and as a notebook in `tox -e docs`."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from tests.docs.blocks import ROOT

NOTEBOOK = ROOT / "docs/tutorials/notebook.ipynb"


def test_its_cells_run() -> None:
    """One after another, in one namespace."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names = ModuleType("notebook").__dict__
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], NOTEBOOK.name, "exec"), names)  # noqa: S102 - our own notebook


def test_nothing_that_it_printed_is_kept() -> None:
    """What a cell printed once would go out of date."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.filterwarnings("default")
def test_it_runs_as_a_notebook() -> None:
    """In a kernel of its own, with a table for the report and a bar for progress."""
    nbclient: Any = pytest.importorskip("nbclient", reason="`tox -e docs` has it")
    nbformat: Any = pytest.importorskip("nbformat", reason="`tox -e docs` has it")
    pytest.importorskip("ipykernel", reason="`tox -e docs` has it")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=100).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("text/html" in data for data in shown) >= 3
