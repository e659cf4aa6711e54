"""Workers of a test's own, and both ways to carry ubatches that take turns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.threads import no_thread_left


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with no_thread_left():
        workers = WorkerPool(ThreadRuntime())
        yield workers
        workers.shutdown()


@pytest.fixture(params=["threads", "greenlets"])
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    return str(request.param)
