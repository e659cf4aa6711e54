"""What a wrapper keeps for later runs: under which key, when it is written, and what wins over it."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, tokens
from microbatch.errors import PolicyError
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


def run(path: Path, policy: Any, steps: int = 3, *backends: Any) -> list[str]:
    """A run with a policy; what was told in it, each step having given its result."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with microbatch.wrap(
            np.negative, plugins=GivenPolicy(policy, *backends), policy="given", model="m", history=str(path)
        ) as wrapped:
            for _ in range(steps):
                np.testing.assert_array_equal(wrapped(np.ones(8)), -np.ones(8))
    assert all(warning.category is RuntimeWarning for warning in told)
    return [str(warning.message) for warning in told]


def fields(path: Path) -> dict[str, Any]:
    (entry,) = History(path).entries()
    return dict(entry.fields)


def test_what_was_learned_is_given_back_before_the_first_step(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    run(path, Learned())
    again = Learned()
    assert run(path, again, 2) == []
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
    (told,) = run(path, again)
    assert "cannot use" in told and "it has no steps" in told
    assert again.steps == 3
    assert run(path, last := Learned()) == []
    assert last.given == [{"steps": 3}]


class Forgetful(Learned):
    """A policy that fails in `place` with `error`, where it was given something of another run."""

    def __init__(self, place: str, error: type[BaseException]) -> None:
        super().__init__()
        self.place, self.error = place, error
        self.spoilt = False

    def _fail(self, place: str) -> None:
        if self.spoilt and place == self.place:
            raise self.error("it cannot live with that")

    def propose(self, request: SizingRequest) -> Proposal:
        self._fail("propose")
        return super().propose(request)

    def observe(self, report: StepReport) -> None:
        self._fail("observe")
        super().observe(report)

    def restore(self, state: Any) -> None:
        self.spoilt = "spoilt" in state
        self.steps = state.get("steps", 0)
        self._fail("restore")


def spoil(path: Path) -> None:
    """Put a state there that only looks like one."""
    run(path, Learned())
    with sqlite3.connect(path) as connection:
        connection.execute('update learned set state = \'{"spoilt": 1, "steps": 50}\'')
    connection.close()


@pytest.mark.parametrize("error", [ValueError, KeyError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", ["restore", "propose", "observe"])
def test_a_policy_that_fails_with_what_it_is_given_back_goes_on_without(
    place: str, error: type[BaseException], tmp_path: Path
) -> None:
    """At once or in a later step: one warning, and it is asked again as it was before."""
    path, policy = tmp_path / "sizes.db", Forgetful(place, error)
    spoil(path)
    (told,) = run(path, policy, 5)
    assert "it is ignored" in told
    assert policy.steps == 5
    assert json.loads(fields_and_state(path)[1]) == {"steps": 5}


def fields_and_state(path: Path) -> tuple[str, str]:
    with sqlite3.connect(path) as connection:
        (row,) = connection.execute("select fields, state from learned").fetchall()
    connection.close()
    return tuple(row)


def test_a_policy_that_fails_without_help_is_still_an_error(tmp_path: Path) -> None:
    """What it was given back is taken back once; after that its errors are its own."""

    class Broken(Learned):
        def propose(self, request: SizingRequest) -> Proposal:
            raise ValueError("always")

    spoil(tmp_path / "sizes.db")
    with (
        pytest.raises(PolicyError, match="always"),
        pytest.warns(RuntimeWarning, match="it has no steps|fails"),microbatch.wrap(
        np.negative, plugins=GivenPolicy(Broken()), policy="given", model="m",
        history=str(tmp_path / "sizes.db"),
    ) as wrapped
    ):  # fmt: skip
        wrapped(np.ones(8))


class Unkept(Learned):
    """A policy whose state cannot be kept."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self._state = state

    def state(self) -> Any:
        return self._state() if callable(self._state) else self._state


def _exit() -> Any:
    raise SystemExit("a policy's own trouble")


@pytest.mark.parametrize(
    "state",
    [_exit, 7, {"a": float("nan")}, {"a": object()}, {"a": 10**400}, {1: 2, (3, 4): 5}],
    ids=["exit", "number", "nan", "object", "huge", "keys"],
)
def test_a_state_that_cannot_be_kept_is_one_warning_and_fails_no_step(state: Any, tmp_path: Path) -> None:
    """Steps 16 and 64 write, and so does the end."""
    (told,) = run(tmp_path / "sizes.db", Unkept(state), 70)
    assert told.startswith("history ") and "not kept in this run" in told


def test_a_device_that_raises_when_asked_for_its_name_fails_no_step(tmp_path: Path) -> None:
    class Nameless(AdversarialBackend):
        def device_name(self) -> str:
            raise SystemExit("a backend's own trouble")

    device = Nameless(WORST_ORDERS[0])
    with microbatch.wrap(
        lambda x: x * 2, backend=device.name, plugins=GivenPolicy(Learned(), device), policy="given",
        history=str(tmp_path / "sizes.db"), schedule="sequential",
    ) as wrapped:  # fmt: skip
        x = device.array(np.ones((8, 2)))
        with pytest.warns(RuntimeWarning, match="SystemExit: a backend's own trouble"):
            first = wrapped(x)
        for result in (first, *(wrapped(x) for _ in range(20))):  # a second warning would be an error
            np.testing.assert_array_equal(np.asarray(result), np.full((8, 2), 2.0))


def test_where_warnings_are_errors_a_history_still_fails_no_step(tmp_path: Path) -> None:
    """The result of the sixteenth step, which writes, is not lost."""
    path = tmp_path / "sizes.db"
    path.write_text("no history")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with microbatch.wrap(np.negative, policy="auto", history=str(path)) as wrapped:
            for _ in range(20):
                np.testing.assert_array_equal(wrapped(np.ones(8)), -np.ones(8))
    assert path.read_text() == "no history"


def test_it_is_written_while_other_threads_ask_the_policy(tmp_path: Path) -> None:
    """A policy is read by one thread at a time, as it is asked and taught."""

    class Alone(Learned):
        busy = False

        def propose(self, request: SizingRequest) -> Proposal:
            with self._alone():
                return super().propose(request)

        def state(self) -> dict[str, Any]:
            with self._alone():
                return super().state()

        @contextmanager
        def _alone(self) -> Iterator[None]:
            assert not self.busy, "two threads at a time"
            self.busy = True
            sum(range(2000))
            self.busy = False
            yield

    policy, wrong = Alone(), list[BaseException]()
    with microbatch.wrap(
        np.negative, plugins=GivenPolicy(policy), policy="given", history=str(tmp_path / "sizes.db")
    ) as wrapped:

        def call() -> None:
            try:
                for _ in range(100):
                    wrapped(np.ones(8))
                    wrapped._engine.remembering.keep()
            except BaseException as error:  # noqa: BLE001 - shown below
                wrong.append(error)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []


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
