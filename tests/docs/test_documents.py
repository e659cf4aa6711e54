"""What the documents name exists, and their lists are whole; that their code runs is in `test_pages.py`."""

from __future__ import annotations

import inspect
import re

import pytest

import microbatch
import microbatch.testing
from microbatch import errors
from microbatch_backends.rows.announced import ROWS
from tests.docs.blocks import ROOT, pages


@pytest.mark.parametrize("document", [*pages(), "CHANGELOG.md"])
def test_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(
        re.findall(r"`((?:core|backends|plugins|examples|benchmarks|docs|specs|tests)/[\w./-]*)", text)
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_links_of_what_is_not_on_the_site_lead_somewhere(document: str) -> None:
    """Those of the site are checked by mkdocs."""
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", (ROOT / document).read_text())
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_public_name_can_be_imported() -> None:
    for name in microbatch.__all__:
        assert getattr(microbatch, name) is not None


def test_the_table_of_types_is_what_is_announced() -> None:
    """Each type with rows that comes with microbatch, with the same remark, and no other."""
    page = (ROOT / "docs/data.md").read_text()
    written = re.findall(r"^\| table \| `([\w.:]+)` \| (.+) \|$", page, re.MULTILINE)
    assert written == [(info.type, info.summary) for info in ROWS]


def test_who_cites_it_cites_this_version() -> None:
    assert f"\nversion: {microbatch.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_each_error_is_explained() -> None:
    """A row for each class, in the order of the module."""
    page = (ROOT / "docs/reference/errors.md").read_text()
    classes = [
        name
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, Exception)
    ]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == classes


def test_each_public_name_is_in_the_reference() -> None:
    """Of the package and of its testing package; modules are described by pages of their own."""
    text = "".join((ROOT / f"docs/reference/{page}.md").read_text() for page in ("microbatch", "records"))
    told = set(re.findall(r"^::: microbatch\.(\w+)$", text, re.MULTILINE))
    assert told == set(microbatch.__all__) - {"errors", "testing"}
    testing = (ROOT / "docs/reference/testing.md").read_text()
    assert set(re.findall(r"^::: microbatch\.testing\.(\w+)$", testing, re.MULTILINE)) == set(
        microbatch.testing.__all__
    )
