"""Torch modules that keep state, on the CPU: what `auto` may do with them, and that a seed gives one
result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import microbatch

torch = pytest.importorskip("torch", reason="these are torch's own modules")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `auto` would run in parallel, were nothing against it."""
    monkeypatch.setattr("microbatch.step.routes.usable_cores", lambda: 2)


def wrap(module: Any, **options: Any) -> Any:
    return microbatch.wrap(module, num_ubatches=2, thread_pool_size=2, **options)


def seeded(module: Any, steps: int = 3, **options: Any) -> tuple[list[Any], list[str]]:
    """Outputs and schedules of several steps after the same seed."""
    torch.manual_seed(7)
    x, outputs, schedules = torch.ones(16, 64), [], []
    with wrap(module, **options) as wrapped:
        for _ in range(steps):
            outputs.append(wrapped(x).clone())
            schedules.append(wrapped.last_report.schedule)
    return outputs, schedules


@pytest.mark.pitfall(20)
def test_dropout_that_is_tried_beforehand_gives_the_plain_calls_numbers() -> None:
    """The trial calls see it draw, and leave the generator as it was."""
    module, x = torch.nn.Dropout(0.5), torch.ones(16, 64)
    torch.manual_seed(7)
    plain = [module(x) for _ in range(3)]
    with pytest.warns(UserWarning, match="it draws random numbers"):
        ours, schedules = seeded(module)
    for one, other in zip(ours, plain, strict=True):
        assert torch.equal(one, other)
    assert "parallel" not in schedules


@pytest.mark.counted
@pytest.mark.pitfall(20)
@pytest.mark.parametrize("schedule", ["auto", "sequential", "pingpong"])
def test_dropout_with_one_seed_gives_one_result(schedule: str) -> None:
    module = torch.nn.Dropout(0.5)
    first, schedules = seeded(module, schedule=schedule)
    again, _ = seeded(module, schedule=schedule)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one[:8], one[8:]), "both parts drew the same numbers"
    assert "parallel" not in schedules, "threads would draw in the order in which they happen to run"


@pytest.mark.pitfall(20)
def test_dropout_that_is_off_may_run_in_parallel() -> None:
    """The twin: what keeps the numbers reproducible is not that nothing ever overlaps."""
    _, schedules = seeded(torch.nn.Dropout(0.5).eval(), schedule="auto")
    assert schedules == ["parallel"] * 3


@pytest.mark.pitfall(19)
def test_batch_norm_in_training_gives_the_plain_calls_numbers_and_statistics() -> None:
    torch.manual_seed(0)
    plain, cut_ = torch.nn.BatchNorm1d(4), torch.nn.BatchNorm1d(4)
    with wrap(cut_) as wrapped:
        for _ in range(4):
            x = torch.randn(12, 4) * 3 + 1
            torch.testing.assert_close(wrapped(x), plain(x))
    assert int(cut_.num_batches_tracked) == 4
    torch.testing.assert_close(cut_.running_mean, plain.running_mean)
    torch.testing.assert_close(cut_.running_var, plain.running_var)


class Cache(torch.nn.Module):
    """Writes the rows it sees behind one another, as a cache of keys does, and gives each its place."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size))
        self.register_buffer("used", torch.zeros((), dtype=torch.int64))
        self.inside = 0

    def forward(self, x: Any) -> Any:
        self.inside += 1
        assert self.inside == 1, "two parts are inside at once"
        start = int(self.used)
        self.rows[start : start + len(x)] = x
        microbatch.dbo.dbo_yield()  # where another part may run, if parts take turns
        self.used += len(x)
        self.inside -= 1
        return torch.arange(start, start + len(x))


@pytest.fixture
def caches() -> Iterator[Any]:
    torch.manual_seed(0)
    yield lambda: Cache(64).eval()


@pytest.mark.counted
@pytest.mark.pitfall(23)
def test_a_module_that_writes_its_buffers_is_never_run_side_by_side(caches: Any) -> None:
    """From the first step on, as that is when its parts would first overwrite each other's rows."""
    module, x = caches(), torch.arange(16.0)
    with wrap(module, schedule="auto") as wrapped:
        for step in range(3):
            places = wrapped(x + 100 * step)
            assert places.tolist() == list(range(16 * step, 16 * step + 16))
            assert wrapped.last_report.schedule == "sequential"
            assert "buffers" in wrapped.last_report.reason
    assert module.rows[:48].tolist() == [float(100 * step + row) for step in range(3) for row in range(16)]


@pytest.mark.counted
@pytest.mark.pitfall(23)
def test_parts_that_take_turns_reach_shared_buffers_in_one_order() -> None:
    """Between two yields one part runs alone, and the ring has one order: so an order-sensitive module
    repeats."""

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            seen = []
            for _ in range(3):
                seen.append(self.last.clone())
                self.last.mul_(2).add_(x.sum())
                microbatch.dbo.dbo_yield()
            return x + torch.cat(seen).sum()

    def run() -> tuple[list[float], float]:
        module = Last().eval()
        with wrap(module, schedule="pingpong", policy="fixed") as wrapped:
            result = wrapped(torch.arange(4.0))
        return result.tolist(), float(module.last)

    first = run()
    assert all(run() == first for _ in range(5))
