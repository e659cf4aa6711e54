"""What a wrapper keeps for later runs: under which key, when it is written, and what wins over it."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, tokens
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch.sizing.history import History
from microbatch.testing import AdversarialBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends, GivenPolicy
from microbatch_policies.memory.memory_model import MemoryModel
from microbatch_policies.speed.throughput import Throughput

PACKAGES = ("microbatch", "microbatch_backends", "microbatch_policies")


class Learned:
    """A policy that keeps how many steps it saw, and what it was given back."""

    def __init__(self) -> None:
        self.steps = 0
        self.given: list[Any] = []

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=4)

    def observe(self, report: StepReport) -> None:
        self.steps += 1

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: Any) -> None:
        self.given.append(state)
        if "steps" not in state:
            raise ValueError("it has no steps")
        self.steps = state["steps"]


class Named(AdversarialBackend):
    """A device with a name."""

    def device_name(self) -> str:
        return "Simulated 9000"


def run(path: Path, policy: Any, steps: int = 3) -> None:
    with microbatch.wrap(
        np.negative, plugins=GivenPolicy(policy), policy="given", model="m", history=str(path)
    ) as wrapped:
        for _ in range(steps):
            wrapped(np.ones(8))


def fields(path: Path) -> dict[str, Any]:
    (entry,) = History(path).entries()
    return dict(entry.fields)


def test_what_was_learned_is_given_back_before_the_first_step(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    run(path, Learned())
    again = Learned()
    run(path, again, 2)
    assert again.given == [{"steps": 3}]
    assert again.steps == 5


def test_the_key_names_model_policy_device_and_libraries(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    run(path, Learned())
    found = fields(path)
    assert (found["model"], found["policy"], found["backend"]) == ("m", "given", "cpu")
    assert found["capacity"] > 0 and "cores" in found["device"]
    assert f"numpy {np.__version__}" in found["versions"]
    assert f"python {sys.version.split()[0]}" in found["versions"]


@pytest.mark.parametrize("graphs", [False, True])
def test_the_key_says_what_the_device_is_called_and_whether_graphs_are_replayed(
    graphs: bool, tmp_path: Path
) -> None:
    device = Named(WORST_ORDERS[0])
    with microbatch.wrap(
        lambda x: x * 2, backend=device.name, plugins=GivenBackends(device), policy="memory-model",
        history=str(tmp_path / "sizes.db"), graphs=graphs, schedule="sequential",
    ) as wrapped:  # fmt: skip
        wrapped(device.array(np.ones((8, 2))))
    found = fields(tmp_path / "sizes.db")
    assert (found["device"], found["graphs"]) == ("Simulated 9000", graphs)


def test_dtype_and_unit_are_part_of_what_sizes_are_learned_for(tmp_path: Path) -> None:
    signatures: list[str] = []

    class Asked(Learned):
        def propose(self, request: SizingRequest) -> Proposal:
            signatures.append(request.signature)
            return super().propose(request)

        def observe(self, report: StepReport) -> None:
            assert report.signature == signatures[-1]

    def lengths(args: Any, kwargs: Any) -> list[int]:
        return [1, 2] * 4

    for layout in (None, Layout(inputs={"0": tokens()}, lengths=lengths)):
        with microbatch.wrap(
            lambda x: x * 2, plugins=GivenPolicy(Asked()), policy="given", layout=layout
        ) as wrapped:
            wrapped(np.ones((8, 2), np.float32))
            wrapped(np.ones((8, 2), np.float64))
    assert len(set(signatures)) == 4
    assert [signature.endswith(" by cost") for signature in signatures] == [False, False, True, True]


def test_it_is_written_at_sixteen_steps_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    with microbatch.wrap(
        np.negative, plugins=GivenPolicy(Learned()), policy="given", history=str(path)
    ) as wrapped:
        written = []
        for _ in range(20):
            wrapped(np.ones(8))
            written.append(path.exists() and bool(History(path).entries()))
    assert written == [False] * 16 + [True] * 4
    with sqlite3.connect(path) as connection:
        (state,) = connection.execute("select state from learned").fetchone()
    connection.close()
    assert json.loads(state) == {"steps": 20}


def test_without_the_option_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROBATCH_HISTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    with microbatch.wrap(np.negative) as wrapped:
        for _ in range(20):
            wrapped(np.ones(8))
    assert list(tmp_path.iterdir()) == []


def test_foreign_state_is_one_warning_and_learned_anew(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    run(path, Learned())
    with sqlite3.connect(path) as connection:
        connection.execute("update learned set state = '{\"another\": 1}'")
    connection.close()
    again = Learned()
    with pytest.warns(RuntimeWarning, match="cannot use") as caught:
        run(path, again)
    assert len(caught) == 1
    assert again.steps == 3
    run(path, last := Learned())  # a warning would be an error here
    assert last.given == [{"steps": 3}]


@pytest.mark.parametrize(
    ("options", "parts"),
    [({"num_ubatches": 5}, 5), ({"max_tokens_per_ubatch": 100}, 10), ({"policy": "fixed"}, 2)],
)
def test_a_size_that_the_user_set_wins_over_the_history(
    options: dict[str, Any], parts: int, tmp_path: Path
) -> None:
    path, x = tmp_path / "sizes.db", np.ones((1000, 64))
    for _ in range(2):
        with microbatch.wrap(np.negative, history=str(path), model="m") as wrapped:
            for _ in range(20):
                wrapped(x)
    with microbatch.wrap(np.negative, history=str(path), model="m", **options) as wrapped:
        wrapped(x)
        report = wrapped.last_report
    assert report is not None and len(report.sizes) == parts


def test_loaded_peaks_are_believed_less() -> None:
    """The same bound is farther away, so the size is smaller than the one that was learned."""
    policy, fresh = MemoryModel(), MemoryModel()
    asked = SizingRequest(
        num_tokens=4096, num_requests=4096, signature="s", memory_limit=50_000 + 10_000 * 600
    )
    for number in range(30):
        size = policy.propose(asked).limit or 1
        noise = 1 + 0.02 * (-1) ** number
        policy.observe(
            StepReport(
                step=number, num_tokens=4096, num_requests=4096, sizes=(size,) * (4096 // size), seconds=1.0,
                signature="s", limit=size, peak_bytes=int((50_000 + 10_000 * size) * noise),
            )
        )  # fmt: skip
    fresh.restore(json.loads(json.dumps(policy.state())))
    learned, loaded = policy.propose(asked).limit, fresh.propose(asked).limit
    assert learned is not None and loaded is not None
    assert learned / 4 < loaded < learned


def test_loaded_times_are_measured_again() -> None:
    policy = Throughput()
    asked = SizingRequest(num_tokens=4096, num_requests=4096, signature="s", bytes_per_unit=4096, limit=2048)

    def step(policy: Throughput) -> str:
        answer = policy.propose(asked)
        size = answer.limit or 4096
        policy.observe(
            StepReport(
                step=0, num_tokens=4096, num_requests=4096, sizes=(size,) * -(-4096 // size),
                seconds=0.1 + 1 / size, signature="s", limit=size,
            )
        )  # fmt: skip
        return answer.reason

    for _ in range(20):
        settled = step(policy)
    fresh = Throughput()
    fresh.restore(json.loads(json.dumps(policy.state())))
    assert "measuring" not in settled
    assert "measuring" in step(fresh)


def test_nothing_is_pickled() -> None:
    folders = [Path(str(import_module(name).__file__)).parent for name in PACKAGES]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(sources) > 100
    users = [
        path.name
        for path in sources
        if re.search(r"^\s*(import|from)\s+(pickle|shelve|marshal|dill)\b", path.read_text(), re.MULTILINE)
    ]
    assert users == []
