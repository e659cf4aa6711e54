"""Which format an output has.

Invariant: a format is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from microbatch.errors import ArgumentValueError
from microbatch.files.protocols import Sink
from microbatch.files.whole_file import MADE, WholeFile
from microbatch.loading.objects import load_object

SINKS: Mapping[str, str] = MappingProxyType(
    {
        ".npy": "microbatch.files.npy_sink:NpySink",
        ".npz": "microbatch.files.npz_sink:NpzSink",
        ".parquet": "microbatch.files.parquet_sink:ParquetSink",
        ".jsonl": "microbatch.files.line_sinks:JsonSink",
        ".txt": "microbatch.files.line_sinks:TextSink",
    }
)
"""Suffix to the class that writes such a file."""
CARRYING = (".parquet", ".jsonl")
"""Those that take columns of the input beside the result."""


def new_file(path: Path, *, keeps: bool = False, made: bool = False) -> WholeFile:
    """The file of an output; `made` of a part file that is complete."""
    return WholeFile(path, tuple(SINKS), keeps=keeps, mark=MADE if made else "")


def sink_of(file: WholeFile, *, carries: bool) -> Sink:
    """What writes into `file`. Raises ArgumentValueError where it `carries` columns and cannot."""
    kind = file.path.suffix.lower()
    if carries and kind not in CARRYING:
        raise ArgumentValueError(f"{file.path} has no room for columns to keep; use {' or '.join(CARRYING)}")
    sink: Sink = load_object(SINKS[kind])(file)
    return sink
