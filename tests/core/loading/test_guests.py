"""Whatever a plugin raises, it ends neither the program nor a step: it is told as any exception would be."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import optree
import pytest

import microbatch
from microbatch.errors import PluginError, PluginLoadError, PolicyError
from microbatch.extend.chain import Chain, checked
from microbatch.extend.device import device_of
from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo, SizingRequest, StepReport
from microbatch.loading.plugins import Plugins
from tests.support.guests import (
    RAISED,
    Answering,
    GuestPolicy,
    Incomparable,
    Listening,
    Offering,
    Raising,
    Reluctant,
    Thrower,
    Unspeakable,
    throw,
)

REPORT = StepReport(step=0, num_tokens=4, num_requests=4, sizes=(4,), seconds=0.1)
REQUEST = SizingRequest(num_tokens=4, num_requests=4)
GUESTS = "tests.support.guests"


@pytest.fixture(params=RAISED)
def trouble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the error is told."""
    monkeypatch.setattr(Thrower, "raises", request.param)
    return f"{request.param.__name__}: its own trouble"


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thrower, "raises", KeyboardInterrupt)


GOOD = Offering(policies=[PolicyInfo(name="good", load=f"{GUESTS}:GuestPolicy")])


def plugins_of(*guests: object) -> Plugins:
    return Plugins(entry_points=(), extra=(*guests, GOOD), environment={})


def offering_backend(kind: str, probe: Callable[[], Any] = lambda: None) -> Plugins:
    info = BackendInfo(name="guest", load=f"{GUESTS}:{kind}", probe=probe, modules=("numpy",), priority=99)
    return plugins_of(Offering(backends=[info]))


def reasons(plugins: Plugins) -> str:
    return "; ".join(line.reason for line in (*plugins.plugins(), *plugins.backends()))


@pytest.mark.parametrize("guest", [Raising, Incomparable])
def test_hooks_that_raise_are_told_and_cost_the_others_nothing(trouble: str, guest: type) -> None:
    """Every kind of registration, and a plugin that cannot even be looked at."""
    plugins = plugins_of(guest())
    assert [line.name for line in plugins.policies()] == ["good"]
    assert trouble in reasons(plugins)
    assert plugins.policy("good") is not None


def test_a_record_that_cannot_be_looked_at_is_told(trouble: str) -> None:
    """Its text and its comparison are code of the plugin too."""
    plugins = plugins_of(Offering(policies=[Unspeakable()], backends=Unspeakable()))
    assert [line.name for line in plugins.policies()] == ["good"]
    assert "something of type Unspeakable" in reasons(plugins)


def test_an_import_that_raises_is_told(trouble: str, site: Any) -> None:
    """Of the plugin's own module, and of the module that a record names."""
    site.module("acme_late", f"from {GUESTS} import throw\nthrow()")
    site.install("acme", f"from {GUESTS} import throw\nthrow()")
    source = (
        "@hookimpl\ndef microbatch_register_policies(): return [PolicyInfo(name='a', load='acme_late:A')]"
    )
    site.install("brook", source)
    plugins = site.plugins(GOOD)
    assert trouble in reasons(plugins)
    with pytest.raises(PluginLoadError, match=trouble):
        plugins.policy("a")


def test_a_probe_that_raises_is_the_reason_why_not(trouble: str) -> None:
    """As a listing shows it."""
    assert f"its probe raised {trouble}" in reasons(offering_backend("GuestBackend", throw))


@pytest.mark.parametrize("kind", ["GuestBackend", "Nosy"])
def test_a_backend_that_raises_when_it_is_built_is_a_load_error(trouble: str, kind: str) -> None:
    """In its constructor, or where its members are looked for."""
    with pytest.raises(PluginLoadError, match=trouble) as caught:
        offering_backend(kind).backend("guest")
    assert isinstance(caught.value.__cause__, Thrower.raises or ())


def test_a_backend_that_raises_when_asked_what_it_owns_is_named(trouble: str) -> None:
    """Where no other owns the array."""
    with pytest.raises(PluginError, match=f"backend 'guest' .* raised {trouble} in owns"):
        offering_backend("Reluctant").backend_for([np.ones(2)])


def test_a_backend_that_raises_when_asked_for_its_abilities_is_named(trouble: str) -> None:
    """Optional abilities are asked for once, when a wrapper is first called."""

    class Shy(Reluctant):
        @property
        def captures_threads(self) -> Any:
            return throw()

    with pytest.raises(PluginError, match=f"Shy raised {trouble}"):
        device_of(Shy())  # type: ignore[arg-type]


def test_a_policy_that_raises_is_a_policy_error(trouble: str) -> None:
    """In whatever it is asked, alone and in a chain."""
    for policy in (checked(GuestPolicy(), "guest"), Chain([("guest", GuestPolicy())])):
        with pytest.raises(PolicyError, match=f"'guest' raised {trouble} in propose"):
            policy.propose(REQUEST)
        with pytest.raises(PolicyError, match=f"'guest' raised {trouble} in observe"):
            policy.observe(REPORT)
        with pytest.raises(PolicyError, match=f"'guest' raised {trouble} in state"):
            policy.state()
    with pytest.raises(ValueError, match="its own trouble"):
        checked(GuestPolicy(), "guest").restore({})
    with pytest.raises(PolicyError, match=f"'guest' raised {trouble} in propose"):
        checked(Answering(), "guest").propose(REQUEST)


def test_a_listener_that_raises_is_one_warning(trouble: str) -> None:
    """And the step has its result."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with microbatch.wrap(np.negative, plugins=Plugins(extra=(Listening(),))) as wrapped:
            for _ in range(2):
                np.testing.assert_array_equal(wrapped(np.ones(4)), -np.ones(4))
    assert [trouble in str(warning.message) for warning in told] == [True]


def test_a_container_that_raises_in_a_step_is_an_error_of_that_plugin(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Exception reaches the caller as it is; whatever would end the program is told by a PluginError."""
    kind, module = type("Crate", (), {}), ModuleType("acme_crates")
    module.Crate = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_crates", module)
    info = ContainerInfo(
        type="acme_crates:Crate", flatten=lambda crate: throw(), unflatten=lambda *given: kind()
    )
    plugins = plugins_of(Offering(containers=[info]))
    plugins.register_containers()
    try:
        expected = ValueError if Thrower.raises is ValueError else PluginError
        wrapped = microbatch.wrap(lambda x, crate: x, num_ubatches=2)
        with wrapped, pytest.raises(expected, match="its own trouble"):
            wrapped(np.ones(4), kind())
    finally:
        optree.unregister_pytree_node(kind, namespace="microbatch")


INTERRUPTED: dict[str, Callable[[], Any]] = {
    "hook": lambda: plugins_of(Raising()).policies(),
    "probe": lambda: reasons(offering_backend("GuestBackend", throw)),
    "building": lambda: offering_backend("GuestBackend").backend("guest"),
    "owns": lambda: offering_backend("Reluctant").backend_for([np.ones(2)]),
    "propose": lambda: checked(GuestPolicy(), "guest").propose(REQUEST),
    "observe": lambda: checked(GuestPolicy(), "guest").observe(REPORT),
    "state": lambda: checked(GuestPolicy(), "guest").state(),
    "restore": lambda: checked(GuestPolicy(), "guest").restore({}),
    "listener": lambda: Plugins(extra=(Listening(),)).step_finished(REPORT),
}


@pytest.mark.usefixtures("interrupt")
@pytest.mark.parametrize("work", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_goes_through(work: Callable[[], Any]) -> None:
    """Ctrl-C while a plugin's code runs reaches the caller."""
    with pytest.raises(KeyboardInterrupt):
        work()


@pytest.mark.counted
@pytest.mark.parametrize("how", [{"num_ubatches": 2}, {"policy": "threshold"}])
def test_a_program_that_ends_itself_in_its_own_function_still_ends(how: dict[str, Any]) -> None:
    """SystemExit of the function is no plugin's: it reaches the caller as it is."""

    def end(x: Any) -> Any:
        raise SystemExit(7)

    with microbatch.wrap(end, **how) as wrapped, pytest.raises(SystemExit) as caught:
        wrapped(np.ones(4))
    assert caught.value.code == 7


def test_a_wrapper_with_plugins_of_its_own_knows_their_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, module = type("Crate", (), {}), ModuleType("acme_crates")
    module.Crate = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_crates", module)
    info = ContainerInfo(
        type="acme_crates:Crate",
        flatten=lambda crate: ((crate.content,), None, ("content",)),
        unflatten=lambda auxiliary, children: crate_of(children[0]),
    )

    def crate_of(content: Any) -> Any:
        crate: Any = kind()
        crate.content = content
        return crate

    plugins, rows = Plugins(extra=(Offering(containers=[info]),)), np.arange(6.0)
    try:
        with microbatch.UBatchWrapper(
            lambda crate: crate.content + 1, num_ubatches=2, plugins=plugins
        ) as wrapped:
            np.testing.assert_array_equal(wrapped(crate_of(rows)), rows + 1)
            assert len(wrapped.last_report.sizes) == 2  # type: ignore[union-attr]
    finally:
        optree.unregister_pytree_node(kind, namespace="microbatch")
