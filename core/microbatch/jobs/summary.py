"""What a run did, for people and as JSON.

Invariant: both show the same numbers, and everything about the step comes from its StepReport; nothing is
guessed.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microbatch.extend.records import StepReport, unit_label
from microbatch.files.protocols import Sink
from microbatch.files.whole_file import WholeFile

NOTHING = StepReport(step=0, num_tokens=0, num_requests=0, sizes=(), seconds=0.0)
"""What no step says."""
OF_REPORT = ("unit", "policy", "reason", "schedule", "workers", "backend")
"""What the summary has from the report under the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The numbers of one run; its fields are the keys of `--json` and stay."""

    rows: int
    """Rows of the input."""
    ubatches: int
    """Parts it was cut into; 1 when it was not cut."""
    unit: str
    """What sizes are counted in: rows, tokens, or cost (longest row times rows of a part)."""
    size_min: int
    """The smallest part."""
    size_median: float
    """The median part."""
    size_max: int
    """The largest part."""
    policy: str
    """Who decided the size."""
    reason: str
    """Why the batch was cut so, or not."""
    schedule: str
    """Order of the parts."""
    workers: int
    """Threads that ran them."""
    backend: str
    """The device."""
    seconds: float
    """Wall time of the step, loading excluded."""
    rows_per_second: float
    """Rows by that time."""
    padding_avoided: float
    """Share of the padded batch that packing did not compute, 0 to 1."""
    out_of_memory: int
    """Attempts that ran out of memory and were repeated in smaller parts."""
    peak_memory_bytes: int
    """Highest memory of the process above its start, without pages of mapped files."""
    output: str
    """The file that was written."""
    output_shape: tuple[int, ...]
    """Shape of its (first) array."""
    output_dtype: str
    """Type of its values."""
    output_bytes: int
    """Size of the file."""
    rows_resumed: int = 0
    """Rows of them that an earlier run had stored."""
    rows_failed: int = 0
    """Rows that the function raised for, with `on_error="skip"`."""
    errors: str = ""
    """The file that says which, and why."""

    def __str__(self) -> str:
        """The same as aligned lines."""
        return "\n".join(f"{name:<9} {value}" for name, value in self._lines() if value)

    def _lines(self) -> list[tuple[str, str]]:
        split = self.ubatches > 1
        sizes = f"{self.size_min:,} / {self.size_median:,.0f} / {self.size_max:,} {unit_label(self.unit)}"
        shape = " x ".join(f"{size:,}" for size in self.output_shape)
        threads = f"{self.workers} thread{'s' * (self.workers > 1)}"
        avoided = f"{self.padding_avoided:.0%} of the padded batch avoided"
        retries = f"{self.out_of_memory} parts ran out of memory and were repeated in smaller ones"
        return [
            ("rows", f"{self.rows:,} in {self.seconds:.2f} s, {self.rows_per_second:,.0f} rows/s"),
            ("resumed", f"{self.rows_resumed:,} rows were there" if self.rows_resumed else ""),
            ("failed", f"{self.rows_failed:,} rows, see {self.errors}" if self.errors else ""),
            ("cut", f"{self.ubatches:,} micro-batches" if split else "not cut, one call"),
            ("why", f"{self.reason} (policy {self.policy})" if self.reason else f"policy {self.policy}"),
            ("sizes", f"{sizes} (min / median / max)" if split else ""),
            ("ran", f"{self.schedule} on {threads}, backend {self.backend}"),
            ("padding", avoided if self.padding_avoided else ""),
            ("retries", retries if self.out_of_memory else ""),
            ("memory", f"{self.peak_memory_bytes / 2**20:,.0f} MiB at peak above the start of the step"),
            ("output", f"{self.output}: {shape} {self.output_dtype}, {self.output_bytes:,} bytes"),
        ]


def summarise(reports: Sequence[StepReport], output: WholeFile, sink: Sink, **more: Any) -> Summary:
    """Put the reports of the steps and the facts of the file, once that is complete, together."""
    last = reports[-1] if reports else NOTHING
    sizes = [size for report in reports for size in report.sizes]
    avoided = sum(report.padding_avoided for report in reports)
    units = sum(sum(report.sizes) * report.num_ubatches / max(1, len(report.sizes)) for report in reports)
    seconds = sum(report.seconds for report in reports)
    rows = sum(report.num_requests for report in reports)
    given = {name: getattr(last, name) for name in OF_REPORT} | {
        "seconds": seconds,
        "rows_per_second": rows / seconds if seconds else 0.0,
    }
    return Summary(
        **{"rows": rows, **more},
        ubatches=sum(report.num_ubatches for report in reports),
        size_min=min(sizes, default=0),
        size_median=statistics.median(sizes) if sizes else 0,
        size_max=max(sizes, default=0),
        padding_avoided=avoided / (avoided + units) if avoided else 0.0,
        out_of_memory=sum(len(report.oom_sizes) for report in reports),
        output=os.fsencode(output.path).decode("utf-8", "replace"),
        output_shape=sink.shape or (),
        output_dtype=sink.dtype,
        output_bytes=output.size,
        **given,
    )
