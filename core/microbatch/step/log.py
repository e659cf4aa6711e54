"""The logger `microbatch`: retries, refused cuts and lost time.

Invariant: nothing is told at a level that Python shows by itself, so who sets nothing up sees nothing. A step
costs a look-up while nobody listens: `tell` is called where somebody has imported `logging`, as else nobody
listens, and it is not imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from microbatch.extend.records import StepReport
from microbatch.extend.report_text import sizes_told

NAME = "microbatch"
"""Of the logger."""
LOST = 0.25
"""Share of the threads' time that is told of when no part ran in it."""
LEAST = 0.01
"""Seconds below which lost time is not worth a word."""
NOT_CUT = "not cut: "
"""How the reason of a step begins that was to be cut and must not be."""


def tell(report: StepReport) -> None:
    """Tell what is remarkable of a finished step; never raises."""
    logging: Any = sys.modules["logging"]
    # `getLogger` takes a lock, and is asked once; later it is a look-up
    logger = logging.root.manager.loggerDict.get(NAME)
    if not isinstance(logger, logging.Logger):
        logger = logging.getLogger(NAME)
    if logger.isEnabledFor(logging.INFO):
        for text in remarkable(report):
            logger.info("step %d: %s", report.step, text)
        logger.debug("step %d: %r", report.step, report)


def remarkable(report: StepReport) -> Iterator[str]:
    """A sentence for each thing."""
    if report.oom_sizes:
        again = "ran again in smaller parts" if report.failure is None else "and smaller parts did not help"
        yield f"memory ran out in parts of {sizes_told(report.oom_sizes)} {report.unit}, {again}"
    if report.reason.startswith(NOT_CUT):
        yield f"{report.reason}; it ran whole"
    lost = lost_seconds(report)
    if lost >= max(LEAST, LOST * report.workers * report.seconds):
        share = lost / (report.workers * report.seconds)
        yield (
            f"{lost:.3g} s lost: for {share:.0%} of the time of {report.workers} threads no part ran "
            f"({report.num_ubatches} parts, {report.schedule}; {report.reason or 'no reason given'})"
        )


def lost_seconds(report: StepReport) -> float:
    """Seconds, over all threads, in which no part ran; 0 where the times of parts are not known."""
    if not report.ubatch_seconds or report.failure is not None or report.schedule == "pingpong":
        return 0.0  # ubatches that take turns overlap on purpose
    share = report.num_ubatches / len(report.ubatch_seconds)  # of many parts only some are told
    return max(0.0, report.workers * report.seconds - share * sum(report.ubatch_seconds))
