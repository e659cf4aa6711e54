"""Input files as they are found: of whatever bytes, and written to while they are read."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbatch.errors import InputChangedError, InputFileError
from microbatch.files.source import Source, parsing
from microbatch.files.sources import read_inputs
from tests.support.damaged_files import SUFFIXES, damaged, sound


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_rows_or_an_error_about_the_file(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    """No other error, and no warning: these are errors in a test."""
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data.draw(damaged(suffix)))
    try:
        inputs = read_inputs(path)
    except InputFileError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error) and "; " in str(error)
    else:
        assert inputs.rows >= 0
        for values in (*inputs.args, *inputs.kwargs.values()):
            assert len(str(values)) > 0  # every byte of it can be read


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_files_are_read(tmp_path: Path, suffix: str) -> None:
    """What `damaged` begins with."""
    path = tmp_path / f"x{suffix}"
    path.write_bytes(sound(suffix))
    assert read_inputs(path).rows == 20


def test_a_mapped_file_is_watched_until_the_end(tmp_path: Path) -> None:
    """Rows are read when parts need them."""
    path = tmp_path / "x.npy"
    np.save(path, np.arange(100.0))
    source = read_inputs(path).source
    source.check()
    assert not source.changed
    os.utime(path, ns=(1, 1))
    assert source.changed
    source.check()
    os.truncate(path, 200)
    with pytest.raises(InputChangedError, match="it had 928 bytes and has 200; run again"):
        source.check()


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".npy"])
def test_other_files_may_change_once_they_were_read(tmp_path: Path, suffix: str) -> None:
    """All rows are in memory by then."""
    path = tmp_path / f"x{suffix}"
    path.write_bytes(sound(suffix))
    source = read_inputs(path).source
    path.write_bytes(b"")
    source.check()
    assert not source.changed


def test_a_file_that_is_cut_short_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    """Nor is its end taken for the end of the rows."""
    path = tmp_path / "x.txt"
    path.write_text("a\nb\n")
    source = Source(path)
    with pytest.raises(InputChangedError), parsing(source, "remedy"):
        os.truncate(path, 1)
        raise ValueError("a reader's own words")
    with pytest.raises(InputChangedError):
        source.settle()


def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    """The name leads to another file then."""
    path = tmp_path / "x.npy"
    np.save(path, np.arange(100.0))
    inputs = read_inputs(path)
    np.save(tmp_path / "new.npy", np.zeros(3))
    os.replace(tmp_path / "new.npy", path)
    assert not inputs.source.changed
    assert inputs.args[0].sum() == 4950


def test_memory_that_is_not_there(tmp_path: Path) -> None:
    """Of a sound file that is too big, the remedy is another kind of file."""
    path = tmp_path / "x.txt"
    path.write_bytes(b"")
    wanted = "needs more memory than there is .*save the rows as one .npy"
    with pytest.raises(InputFileError, match=wanted), parsing(Source(path), "remedy"):
        raise MemoryError


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux lists them")
def test_a_source_that_is_dropped_is_closed(tmp_path: Path) -> None:
    """A program that reads many files does not run out of descriptors."""
    path = tmp_path / "x.npy"
    np.save(path, np.arange(3.0))
    gc.collect()  # of what other tests have left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_inputs(path)
    assert len(os.listdir("/proc/self/fd")) == before
