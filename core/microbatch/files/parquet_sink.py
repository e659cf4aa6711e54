"""A table in a `.parquet` file, by pyarrow (extra `data`).

Invariant: a column has one type over all rows; where blocks differ (whole numbers and others, nothing and
texts, a key that only some rows have), it is the type that holds all, found with the block that brings it.
Row groups have the same number of rows however the run was cut into blocks, so an interrupted run makes the
file that an undisturbed one makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from microbatch.errors import OutputFileError
from microbatch.files.arrow_results import result_table
from microbatch.files.places import writing
from microbatch.files.protocols import Block
from microbatch.files.spool import Spool
from microbatch.files.whole_file import FULL, WholeFile

GROUP_ROWS, GROUP_BYTES = 1 << 16, 16 << 20
"""Most rows of a row group, and about how many bytes."""


class ParquetSink:
    """Rows of a table."""

    whole = False

    def __init__(self, file: WholeFile) -> None:
        self.file = file
        self.shape: tuple[int, ...] | None = None
        self.dtype = ""
        self._spool = Spool(file)
        try:
            self._arrow: Any = import_module("pyarrow")
        except ImportError:
            raise OutputFileError(
                f"{file.path}: writing Parquet needs pyarrow, which is not installed; pip install "
                "microbatch[data]"
            ) from None
        self._schema: Any = None
        self._rows = 0

    def expect(self, rows: int | None) -> None:
        """Nothing to prepare."""

    def out(self, start: int, rows: int) -> None:
        """A step returns its result."""

    def store(self, block: Block) -> None:
        """Append the rows of a block."""
        known = [] if self._schema is None else self._schema.names
        table = result_table(self._arrow, self.file.path, block, known)
        self._schema = table.schema if self._schema is None else self._unified(block, table.schema)
        with self._spool.adding() as frame, self._arrow.ipc.new_stream(frame, table.schema) as writer:
            writer.write_table(table)
        self._rows += block.rows
        self._tell()

    def state(self) -> Mapping[str, Any]:
        """The length of the spool; what is in it says the rest."""
        return {"bytes": self._spool.size, "rows": self._rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Read the schemas of what is in the spool."""
        self._spool.go_on(state["bytes"])
        self._rows = state["rows"]
        self._schema = None
        for reader in self._readers():
            schema = reader.schema
            self._schema = schema if self._schema is None else self._both(self._schema, schema)
        self._tell()

    def start_anew(self) -> None:
        """Forget all rows."""
        self._spool.go_on(0)
        self._rows, self._schema = 0, None

    def flush(self) -> None:
        """Wait until all has reached the disk."""
        self._spool.flush()

    def finish(self, make: Callable[[], WholeFile]) -> WholeFile:
        """Write the table into the file that `make` opens."""
        file = make()
        parquet: Any = import_module("pyarrow.parquet")
        with (
            writing(file.path, FULL),
            os.fdopen(os.dup(file.descriptor), "wb") as target,
            parquet.ParquetWriter(target, self._schema) as writer,
        ):
            for group in self._groups():
                writer.write_table(group, row_group_size=max(1, group.num_rows))
        return file

    def _groups(self) -> Iterator[Any]:
        """Tables of as many rows as a row group has."""
        each = max(1, self._spool.size // max(1, self._rows))
        size = min(GROUP_ROWS, 1 << max(0, (GROUP_BYTES // each).bit_length() - 1))
        waiting: list[Any] = []
        count = 0
        for reader in self._readers():
            table = self._as(reader.read_all(), self._schema)
            while count + table.num_rows >= size:
                fit = size - count
                yield self._arrow.concat_tables([*waiting, table.slice(0, fit)])
                waiting, count, table = [], 0, table.slice(fit)
            if table.num_rows:
                waiting.append(table)
                count += table.num_rows
        if waiting or not self._rows:
            yield self._arrow.concat_tables(waiting or [self._schema.empty_table()])

    def _readers(self) -> Iterator[Any]:
        with self._spool.opened() as file:
            for at, length in self._spool.frames():
                file.seek(at)
                yield self._arrow.ipc.open_stream(self._arrow.py_buffer(file.read(length)))

    def _unified(self, block: Block, schema: Any) -> Any:
        try:
            return self._both(self._schema, schema)
        except self._arrow.ArrowException as error:
            reason = str(error).partition("\n")[0]
            raise OutputFileError(
                f"{block.text}: the result has other types than before ({reason}); return columns of one type"
            ) from None

    def _both(self, one: Any, other: Any) -> Any:
        if one.equals(other):
            return one
        both = self._arrow.unify_schemas([one, other], promote_options="permissive")
        for schema in (one, other):
            self._as(schema.empty_table(), both)
        return both

    def _as(self, table: Any, schema: Any) -> Any:
        """`table` with all columns of `schema` and their types; those that it lacks have no values."""
        columns = [
            table.column(each.name).cast(each.type)
            if each.name in table.column_names
            else self._arrow.nulls(table.num_rows, each.type)
            for each in schema
        ]
        return self._arrow.table(columns, schema=schema)

    def _tell(self) -> None:
        if self._schema is not None:
            self.shape = (self._rows, len(self._schema.names))
            self.dtype = ", ".join(f"{field.name} {field.type}" for field in self._schema)
