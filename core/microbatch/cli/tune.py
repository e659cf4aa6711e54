"""`microbatch tune`: measure sizes, show them, and write down the one to use.

Invariant: whatever can be wrong with the options is found before the first call, and no size runs that is not
expected to fit the memory. Parts are measured one at a time, as one worker runs them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from microbatch.binding.batch import bind
from microbatch.cli.config_writer import check_config, write_config
from microbatch.cli.failures import explain, interrupted
from microbatch.cli.output import print_json, print_table
from microbatch.cli.plot import check_plot, draw
from microbatch.cli.target import check_call, load_target
from microbatch.errors import ArgumentValueError, InputFileError, MicrobatchError
from microbatch.files.inputs import read_inputs
from microbatch.host.cores import usable_cores
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import default_plugins, register_containers
from microbatch.options.sources import resolve
from microbatch.tuning.measure import TuneReport, doubling
from microbatch.tuning.measure import tune as measure
from microbatch.tuning.workbench import FileBench

__all__ = ["tune"]

MIB = 1 << 20
SHARE = 0.9
"""Part of the memory there is that a part may use."""


def tune(
    target: Annotated[str, typer.Argument(help="file.py:function or package.module:function")],
    input: Annotated[
        Path, typer.Option(help="Rows to measure with: .npy, .npz, .txt (a row a line) or .parquet.")
    ],
    backend: Annotated[str | None, typer.Option(help="Device; see `microbatch backends`.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Most memory of a part, such as 2GiB.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Sizes to measure, such as 64,256,1024.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw throughput and memory: .png or .svg.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write the size to use to this microbatch.toml.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of a .parquet file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure TARGET at growing sizes and say which one to use."""
    wanted = None if sizes is None else parse_sizes(sizes)
    if plot is not None:
        check_plot(plot)
    if write is not None:
        check_config(write)
    given = {"backend": backend, "memory_limit": memory_limit}
    options = resolve(None, **{name: value for name, value in given.items() if value is not None}).config
    bench, budget, parallel = _bench(target, input, column, options.backend, options.memory_limit)
    workers = min(options.thread_pool_size, usable_cores()) if parallel else 1
    try:
        with bench.as_one_of(workers):
            report = measure(
                bench,
                _within(wanted, bench.units) if wanted else doubling(bench.least, bench.units),
                time.perf_counter,
                budget=budget,
                unit="cost" if bench.packed else "rows",
            )
    except KeyboardInterrupt:
        raise interrupted("nothing was written") from None
    except MicrobatchError:
        raise
    except Exception as error:  # noqa: BLE001 - the function's own, of any kind
        explain(error, f"{target} failed at a size it should run at; nothing was written")
        raise typer.Exit(2) from None
    if plot is not None:
        draw(report, target, plot)
    if write is not None:
        write_config(write, {"policy": "tokens", "max_tokens_per_ubatch": report.chosen})
    _show(report, workers, json=json, written=write, drawn=plot)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Sizes as on the command line, in increasing order; raises ArgumentValueError."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise ArgumentValueError(f"--sizes is {text!r}; give counts from 1 on, such as 64,256,1024")
    return tuple(sorted({int(word) for word in words}))


def _within(sizes: Sequence[int], units: int) -> tuple[int, ...]:
    """Sizes above what the file has are the whole file, once: a part has no more rows than that."""
    return tuple(sorted({min(size, units) for size in sizes}))


def _bench(
    target: str, path: Path, column: str | None, backend: str, limit: int | None
) -> tuple[FileBench, int, bool]:
    """The parts to measure, the bytes that each may use, and whether steps run them side by side."""
    inputs = read_inputs(path, column=column)
    if not inputs.rows:
        raise InputFileError(f"{path} has no rows; nothing can be measured")
    loaded = load_target(target)
    inputs = inputs.bound(loaded.parameters)
    check_call(target, loaded.runnable, inputs)
    register_containers()
    device = BackendChoice(backend, default_plugins()).of(inputs.args, inputs.kwargs)
    layout = loaded.layout or inputs.layout
    batch = bind(layout, inputs.args, inputs.kwargs, backend=device, names=loaded.parameters)
    memory = device.memory()
    usable = int(SHARE * memory.usable) if memory.capacity > 0 else 1 << 62
    budget = usable if limit is None else min(limit, usable)
    return FileBench(loaded.runnable, batch, device), budget, device.parallel


def _show(report: TuneReport, workers: int, *, json: bool, written: Path | None, drawn: Path | None) -> None:
    if json:
        print_json(report)
        return
    rows: list[Sequence[str]] = [
        (
            f"{point.size:,}",
            f"{point.rows_per_second:,.0f}",
            _bytes(point.peak_bytes),
            _bytes(point.predicted_bytes),
            "chosen" if point.size == report.chosen else "",
        )
        for point in report.points
    ]
    unit = "padded units" if report.unit == "cost" else report.unit
    titles = (f"size ({unit})", "rows/s", "peak memory", "predicted bound", "")
    print_table(titles, rows, numbers=titles[:-1])
    typer.echo(f"\n{report.reason}\nstopped: {report.stopped}")
    if workers > 1:
        typer.echo(
            f"measured as one of {workers} workers runs a part; a step runs that many at the same time"
        )
    if written is not None:
        typer.echo(
            f"{written} now has policy tokens with max_tokens_per_ubatch {report.chosen:,}; "
            "what is wrapped in that folder uses it"
        )
    if drawn is not None:
        typer.echo(f"drawn to {drawn}")


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value / MIB:,.1f} MiB"
