"""Copies, pickles and other processes: the plain result, with the same options, whoever made the copy."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import DynamicUBatchWrapper, Layout, tokens
from microbatch.errors import ClosedError
from tests.support.decorated import Scaler, doubled, halved, in_three

X = np.arange(40.0).reshape(20, 2)


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def through_cloudpickle(thing: Any) -> Any:
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(thing))


WAYS = [through_pickle, through_cloudpickle, copy.copy, copy.deepcopy]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_function_the_options_and_the_layout(way: Any) -> None:
    layout = Layout(inputs={"x": tokens()})
    with microbatch.config(max_ubatches=77):
        wrapped = microbatch.wrap(halved, num_ubatches=4, layout=layout, progress=print)
    wrapped(X)  # what a layout has found belongs to the wrapper that found it
    copied = way(wrapped)
    assert copied is not wrapped
    assert copied.unwrap() is halved
    assert copied.microbatch.options == wrapped.microbatch.options
    resolved = copied.microbatch.recipe.resolved
    assert resolved.sources["max_ubatches"] == (
        "pickle" if way in (through_pickle, through_cloudpickle) else "config()"
    )
    assert resolved.explicit("num_ubatches") and not resolved.explicit("policy")
    assert copied.microbatch.layout == layout
    assert copied.microbatch.report is None
    wrapped.shutdown()
    np.testing.assert_array_equal(copied(X), X / 2)
    assert copied.microbatch.report.sizes == (5, 5, 5, 5)


@pytest.mark.parametrize("way", WAYS)
def test_a_decorated_function_and_its_copies(way: Any) -> None:
    """The name of the function leads to the wrapper, which `pickle` of the function itself would refuse."""
    for wrapped in (in_three, copy.deepcopy(in_three), copy.copy(in_three)):
        copied = way(wrapped)
        assert copied.unwrap() is in_three.unwrap()
        np.testing.assert_array_equal(copied(X), X + 1)
        assert copied.microbatch.report.sizes == (7, 7, 6)


def test_a_decorated_function_is_pickled_by_its_name() -> None:
    assert through_pickle(doubled) is doubled
    assert through_pickle(Scaler.scaled) is Scaler.scaled
    assert through_pickle(Scaler.static_above) is Scaler.static_above


@pytest.mark.parametrize("way", WAYS)
def test_the_method_of_an_instance(way: Any) -> None:
    copied = way(Scaler(3.0).scaled)
    np.testing.assert_array_equal(copied(X), X * 3)
    assert through_pickle(copied).unwrap().__self__.factor == 3.0
    assert vars(way(Scaler(3.0))) == {"factor": 3.0}


@pytest.mark.parametrize("way", WAYS)
def test_a_wrapper_with_a_threshold(way: Any) -> None:
    copied = way(DynamicUBatchWrapper(halved, memory_threshold=0.5))
    assert type(copied) is DynamicUBatchWrapper
    assert copied.memory_threshold == 0.5
    np.testing.assert_array_equal(copied(X), X / 2)


def test_a_deep_copy_of_an_object_has_a_deep_copy_of_the_wrapped_thing() -> None:
    wrapped = microbatch.wrap(Scaler(2.0).scaled.unwrap())
    owner = copy.deepcopy({"wrapped": wrapped, "again": wrapped})
    assert owner["wrapped"] is owner["again"]
    assert owner["wrapped"].unwrap().__self__ is not wrapped.unwrap().__self__  # type: ignore[attr-defined]


def test_pickles_are_the_same_before_and_after_steps() -> None:
    """So a library that hashes pickles finds its cache again."""
    wrapped = microbatch.wrap(halved, num_ubatches=2, layout=Layout(inputs={"x": tokens()}))
    before = pickle.dumps(wrapped)
    wrapped(X)
    assert (
        pickle.dumps(wrapped)
        == before
        == pickle.dumps(microbatch.wrap(halved, num_ubatches=2, layout=Layout(inputs={"x": tokens()})))
    )


def test_a_pickle_does_not_say_where_an_option_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a cache that was filled with an option from a file is found with the same one from a variable."""
    monkeypatch.chdir(tmp_path)
    pickles = [pickle.dumps(microbatch.wrap(halved, splitter="floor", policy="fixed"))]
    with microbatch.config(policy="fixed", splitter="floor"):
        pickles.append(pickle.dumps(microbatch.wrap(halved)))
    for lines in (1, 3):
        Path("microbatch.toml").write_text("\n" * lines + 'splitter = "floor"\npolicy = "fixed"\n')
        pickles.append(pickle.dumps(microbatch.wrap(halved)))
    Path("microbatch.toml").unlink()
    monkeypatch.setenv("MICROBATCH_SPLITTER", "floor")
    monkeypatch.setenv("MICROBATCH_POLICY", "fixed")
    pickles.append(pickle.dumps(microbatch.wrap(halved)))
    monkeypatch.delenv("MICROBATCH_SPLITTER")
    pickles.append(pickle.dumps(pickle.loads(pickles[0])))
    assert len(set(pickles)) == 1
    assert pickle.dumps(microbatch.wrap(halved)) != pickles[0]


OPTIONS: dict[str, Any] = {
    "num_ubatches": 2,  # the default, and yet it was asked for
    "max_tokens_per_ubatch": 7,
    "barrier_timeout": None,
    "policy_options": {"latency": {"deadline": 0.05}},
    "memory_limit": "40%",
    "graph_sizes": [2, 4],
    "thread_safe": False,
    "multiple_of": 8,
    "history": "sizes.db",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_kind_of_option_comes_out_of_a_pickle_as_it_was(name: str) -> None:
    given = {"policy": "latency"} if name == "policy_options" else {}
    wrapped = microbatch.wrap(halved, **{name: OPTIONS[name]}, **given)
    copied = through_pickle(wrapped)
    assert copied.microbatch.options == wrapped.microbatch.options
    resolved = copied.microbatch.recipe.resolved
    assert {field for field in OPTIONS if resolved.explicit(field)} == {name}
    assert pickle.dumps(copied) == pickle.dumps(wrapped)


def test_a_closed_wrapper_has_copies_that_run() -> None:
    wrapped = microbatch.wrap(halved)
    wrapped.shutdown()
    with pytest.raises(ClosedError):
        wrapped(X)
    np.testing.assert_array_equal(copy.copy(wrapped)(X), X / 2)


def test_what_cannot_be_pickled_is_the_error_of_pickle() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(microbatch.wrap(lambda x: x))
    np.testing.assert_array_equal(through_cloudpickle(microbatch.wrap(lambda x: x + 9))(X), X + 9)


def test_a_spawned_process_runs_a_wrapper() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for wrapped in (in_three, microbatch.wrap(halved, num_ubatches=2), Scaler(3.0).scaled):
            np.testing.assert_array_equal(pool.apply(wrapped, (X,)), wrapped(X))


SCRIPT = """
import multiprocessing, pickle, sys
import numpy as np
import microbatch

@microbatch.wrap(num_ubatches=2)
def tripled(x):
    return x * 3

class Owner:
    @microbatch.wrap(num_ubatches=2)
    def shifted(self, x):
        return x + 5

if __name__ == "__main__":
    x = np.arange(6.0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(tripled, (x,)) == x * 3).all()
        assert (pool.apply(Owner().shifted, (x,)) == x + 5).all()
    try:
        import cloudpickle
    except ImportError:
        pass
    else:
        sys.stdout.buffer.write(cloudpickle.dumps([tripled, Owner.shifted, Owner().shifted, x]))
"""


def test_functions_that_a_script_decorates(tmp_path: Path) -> None:
    """Spawned processes import the script again; cloudpickle takes its functions along by value."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    if done.stdout:
        tripled, unbound, shifted, x = pickle.loads(done.stdout)
        np.testing.assert_array_equal(tripled(x), x * 3)
        np.testing.assert_array_equal(shifted(x), x + 5)
        assert callable(unbound)


def test_joblibs_processes_run_a_wrapper() -> None:
    joblib = pytest.importorskip("joblib")
    functions = [in_three, microbatch.wrap(lambda x: x - 1, num_ubatches=2), Scaler(2.0).scaled]
    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    results = parallel(joblib.delayed(function)(X) for function in functions)
    for result, function in zip(results, functions, strict=True):
        np.testing.assert_array_equal(result, function(X))
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


@pytest.mark.torch
def test_averages_of_a_wrapped_module_follow_it() -> None:
    """An exponential moving average copies the module deeply and reads its parameters."""
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    torch.manual_seed(0)
    wrapped = microbatch.wrap(torch.nn.Linear(4, 2), num_ubatches=3)
    parent = torch.nn.Sequential(wrapped, torch.nn.Tanh())
    for module in (wrapped, parent):
        average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))
        average.update_parameters(module)
        before = [value.clone() for value in average.parameters()]
        with torch.no_grad():
            for value in module.parameters():
                value += 1
        average.update_parameters(module)
        assert len(before) == 2
        for was, is_now in zip(before, average.parameters(), strict=True):
            torch.testing.assert_close(is_now, was + 0.5)
        x = torch.randn(9, 4)
        with torch.no_grad():
            assert average.eval()(x).shape == (9, 2)
    assert through_pickle(parent)[0].unwrap().weight.shape == (2, 4)
