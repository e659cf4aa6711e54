"""What the system counts for one thread."""

from __future__ import annotations

import threading

import pytest

from microbatch.host.thread_usage import Reading, thread_usage


def test_counts_are_those_of_the_calling_thread() -> None:
    """What another thread does is not in them."""
    before = thread_usage()
    if before is None:
        pytest.skip("this system does not count by the thread")
    inside: list[Reading | None] = []

    def work() -> None:
        sum(number * number for number in range(2_000_000))
        inside.append(thread_usage())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    after = thread_usage()
    assert after is not None and inside[0] is not None
    spent = inside[0][0] + inside[0][1]
    assert 0 < spent
    assert after[0] + after[1] - before[0] - before[1] < spent
