"""Every test here must leave no thread behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.threads import no_thread_left


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    with no_thread_left():
        yield


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    workers = WorkerPool(ThreadRuntime())
    yield workers
    workers.shutdown()
