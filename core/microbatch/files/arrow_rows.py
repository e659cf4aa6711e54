"""Rows of Parquet, Arrow and CSV files, by `pyarrow.dataset` (extra `data`): one file, several, or a folder.

Invariant: in memory are the rows of a block and the batches that pyarrow has read ahead, at most two; columns
that are not asked for are not read. What can be wrong with a value (a gap, a list of another length, a text
where a number was) is found before the first row is worked on, by reading the chosen columns once; of Parquet
columns whose statistics say that no value is missing, that is spared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from microbatch.errors import ArgumentValueError, InputFileError, UnknownNameError, near_match
from microbatch.files.arrow_columns import Column
from microbatch.files.inputs import Inputs, of_columns
from microbatch.files.source import Origin, parsing

ROWS_OF_A_BATCH = 4096
"""Rows that pyarrow gives at once; it reads one batch ahead."""
BATCH_BYTES = 8 << 20
"""About how many bytes these may be."""
CSV_BLOCK = 8 << 20
"""Bytes of a CSV file from whose first lines the types of its columns are guessed."""
WHAT_TO_DO = {
    "parquet": "write the file again",
    "csv": "mend the line, or save the rows as Parquet, whose columns have types",
    "feather": "write the file again",
}
"""With a file that cannot be read, by the format's name in pyarrow."""


class ArrowRows:
    """The rows of a data set."""

    whole = False

    def __init__(
        self, source: Origin, paths: Sequence[Path], kind: str, columns: Sequence[str], carried: Sequence[str]
    ) -> None:
        """`kind` is pyarrow's name of the format; without `columns`, `prepare` chooses them."""
        self.source = source
        self._arrow = arrow_module(source, "pyarrow")
        self._kind = kind
        with parsing(source, WHAT_TO_DO[kind]):
            self._data = _dataset(source, paths, kind)
            self._names = list(self._data.schema.names)
        self.rows: int | None = None
        names = self._names
        self._chosen = [checked_name(source, name, names) for name in columns]
        self._carried = [checked_name(source, name, names) for name in carried]
        self._skipped = 0
        self._tables: Iterator[Any] | None = None
        self._rest: Any = None

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Choose the columns, and look at all of their values."""
        if not self._chosen:
            self._chosen = choose(self.source, self._names, parameters)
        for name in self._chosen:
            if self._kind == "csv" and self._arrow.types.is_binary(self._data.schema.field(name).type):
                raise InputFileError(
                    f"{self.source.path}: column {name!r} is not UTF-8; save the file as UTF-8"
                )
        columns = [Column(self.source, name, self._arrow) for name in self._chosen]
        with parsing(self.source, WHAT_TO_DO[self._kind]):
            self.rows = self._count(columns)

    def skip(self, rows: int) -> None:
        """Leave out so many rows; files that are left out whole are not read."""
        self._skipped += rows

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """The next rows."""
        with parsing(self.source, WHAT_TO_DO[self._kind]):
            table = self._next(rows, most_bytes)
            columns = {
                name: Column(self.source, name, self._arrow).values(table.column(name))
                for name in self._chosen
            }
            carried = {name: table.column(name) for name in self._carried}
        inputs = of_columns(self.source, columns, table.num_rows)
        return Inputs(
            source=self.source,
            args=inputs.args,
            kwargs=inputs.kwargs,
            layout=inputs.layout,
            rows=inputs.rows,
            carried=carried,
        )

    def _next(self, rows: int, most_bytes: int | None) -> Any:
        if self._tables is None:
            self._tables = self._read()
        parts: list[Any] = []
        wanted, left = rows, 1 << 62 if most_bytes is None else most_bytes
        while wanted > 0 and left > 0:
            table = self._rest if self._rest is not None else next(self._tables, None)
            self._rest = None
            if table is None:
                break
            each = max(1, table.nbytes // max(1, table.num_rows))
            fit = min(wanted, max(0 if parts else 1, left // each))
            parts.append(table.slice(0, fit))
            if fit < table.num_rows:
                self._rest = table.slice(fit)
                if fit < wanted:
                    break
            wanted, left = wanted - fit, left - fit * each
        if not parts:
            return self._arrow.Table.from_batches([], self._data.schema)
        return self._arrow.concat_tables(parts)

    def _read(self) -> Iterator[Any]:
        skipped = self._skipped
        for fragment in self._data.get_fragments():
            if skipped:
                count = fragment.count_rows()
                if skipped >= count:
                    skipped -= count
                    continue
            for batch in self._batches(fragment, [*dict.fromkeys((*self._chosen, *self._carried))]):
                if skipped < batch.num_rows:
                    yield self._arrow.Table.from_batches([batch.slice(skipped)])
                skipped = max(0, skipped - batch.num_rows)

    def _batches(self, fragment: Any, names: list[str]) -> Iterator[Any]:
        if self._kind == "parquet":
            yield from self._parquet_batches(fragment, names)
            return
        for batch in fragment.to_batches(
            schema=self._data.schema,
            columns=names,
            batch_size=ROWS_OF_A_BATCH,
            batch_readahead=1,
            fragment_readahead=1,
        ):
            if self._kind == "feather":  # mapped as it is: an offset that leads outside would end the process
                batch.validate(full=True)
            yield batch

    def _parquet_batches(self, fragment: Any, names: list[str]) -> Iterator[Any]:
        """By the reader of one file: that of data sets decodes several row groups before the first row."""
        parquet = arrow_module(self.source, "pyarrow.parquet")
        schema = self._arrow.schema([self._data.schema.field(name) for name in names])
        with parquet.ParquetFile(fragment.path, pre_buffer=False) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            rows = _rows_of_a_batch(file.metadata)
            for batch in file.iter_batches(rows, columns=there) if there else ():
                yield batch if batch.schema.equals(schema) else self._as(batch, schema)

    def _as(self, batch: Any, schema: Any) -> Any:
        """A batch of a file whose columns are not those of the first one."""
        columns = [
            batch.column(each.name).cast(each.type)
            if each.name in batch.schema.names
            else self._arrow.nulls(batch.num_rows, each.type)
            for each in schema
        ]
        return self._arrow.record_batch(columns, schema=schema)

    def _count(self, columns: Sequence[Column]) -> int:
        """Rows, after a look at the values of what cannot be trusted otherwise."""
        if self._kind == "parquet" and all(self._is_sound(column.name) for column in columns):
            return int(self._data.count_rows())
        widths: dict[str, int | None] = {}
        rows = 0
        for fragment in self._data.get_fragments():
            for batch in self._batches(fragment, [column.name for column in columns]):
                for column in columns:
                    name = column.name
                    widths[name] = column.check(batch.column(name), rows, widths.get(name))
                    if rows == 0:
                        column.values(batch.column(name))  # whether its type can be an argument at all
                rows += batch.num_rows
        return rows

    def _is_sound(self, name: str) -> bool:
        """Whether a flat column has no gaps; its first rows are looked at.

        Asked of the reader of data sets, which looks into the values only where the row groups do not say it.
        One row of each is read before, by the reader of one file: that of data sets, and the statistics of
        columns, end the process in pyarrow 26 where what the file says of a column is damaged.
        """
        kind = self._data.schema.field(name).type
        if kind.num_fields or self._arrow.types.is_null(kind):
            return False
        self._touch_groups(name)
        column = arrow_module(self.source, "pyarrow.dataset").field(name)
        if self._data.count_rows(filter=column.is_null()):
            return False
        head = self._data.head(1, columns=[name])
        Column(self.source, name, self._arrow).values(head.column(name))
        return True

    def _touch_groups(self, name: str) -> None:
        """Read a row of each row group that has the column; raises what pyarrow raises for a damaged one."""
        parquet = arrow_module(self.source, "pyarrow.parquet")
        for fragment in self._data.get_fragments():
            with parquet.ParquetFile(fragment.path, pre_buffer=False) as file:
                if name in file.schema_arrow.names:
                    for group in range(file.num_row_groups):
                        next(file.iter_batches(1, row_groups=[group], columns=[name]), None)


def choose(source: Origin, names: Sequence[str], parameters: Sequence[str] | None) -> list[str]:
    """The only column, or those that are named like the function's parameters."""
    if not names:
        raise InputFileError(f"{source.path} has no columns; write the rows as a column")
    if len(names) == 1:
        return list(names)
    chosen = [name for name in names if name in (parameters or ())]
    if not chosen:
        raise ArgumentValueError(
            f"{source.path} has the columns {', '.join(names)}; choose one with --column, or several, which "
            "go "
            "to parameters of their names"
        )
    return chosen


def checked_name(source: Origin, name: str, names: Sequence[str]) -> str:
    """`name`, if there is such a column."""
    if name not in names:
        raise UnknownNameError(f"{source.path} has no column {name!r};{near_match(name, names)}")
    if list(names).count(name) > 1:
        raise InputFileError(f"{source.path} has two columns {name!r}; give each its own name")
    return name


def arrow_module(source: Origin, name: str) -> Any:
    """A module of pyarrow; raises InputFileError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise InputFileError(
            f"{source.path}: reading it needs pyarrow, which is not installed; pip install microbatch[data]"
        ) from None


def _dataset(source: Origin, paths: Sequence[Path], kind: str) -> Any:
    dataset = arrow_module(source, "pyarrow.dataset")
    how: Any = kind
    if kind == "csv":
        csv = arrow_module(source, "pyarrow.csv")
        how = dataset.CsvFileFormat(
            default_fragment_scan_options=dataset.CsvFragmentScanOptions(
                # an empty text is a text, and so is NA among texts
                convert_options=csv.ConvertOptions(
                    strings_can_be_null=False, quoted_strings_can_be_null=False
                ),
                read_options=csv.ReadOptions(block_size=CSV_BLOCK),
            )
        )
    return dataset.dataset([str(path) for path in paths], format=how)


def _rows_of_a_batch(metadata: Any) -> int:
    """Rows of about `BATCH_BYTES`, as the file says how large they are before they are packed."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    each = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
    return max(1, min(ROWS_OF_A_BATCH, BATCH_BYTES // max(1, each)))
