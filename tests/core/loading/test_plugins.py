"""Looking up by name and by inputs; observers of steps."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import (
    BackendUnavailableError,
    PluginError,
    PluginLoadError,
    UnknownNameError,
)
from microbatch.extend.hookspecs import hookimpl
from microbatch.extend.protocols import Backend
from microbatch.extend.records import BackendInfo, StepReport
from microbatch.loading.plugins import Plugins, default_plugins

BACKENDS = """
class Device(Backend):
    asynchronous = False
    parallel = False
    built = []
    name = "{name}"
    def __init__(self): type(self).built.append(self)
    def owns(self, array): return type(array).__name__ == "{owns}"

def probe(): {probe}

@hookimpl
def microbatch_register_backends():
    return [BackendInfo(name="{name}", load=__name__ + ":Device", probe=probe, priority={priority},
                        modules=("{module}",), install="pip install acme[npu]")]
"""
REPORT = StepReport(step=0, num_tokens=4, num_requests=4, sizes=(4,), seconds=0.1)


def backend(
    name: str = "npu",
    owns: str = "Array",
    probe: str = "return None",
    priority: int = 10,
    module: str = "acme_arrays",
) -> str:
    return BACKENDS.format(name=name, owns=owns, probe=probe, priority=priority, module=module)


def array(module: str, name: str = "Array") -> object:
    return type(name, (), {"__module__": module})()


def test_a_backend_is_built_once(site: Any) -> None:
    site.install("acme", backend())
    plugins = site.plugins()
    assert plugins.backend("npu") is plugins.backend("npu")
    assert len(sys.modules["acme_plugin"].Device.built) == 1  # type: ignore[attr-defined]


def test_listing_builds_nothing(site: Any) -> None:
    site.install("acme", backend())
    assert [line.name for line in site.plugins().backends()] == ["npu"]
    assert sys.modules["acme_plugin"].Device.built == []  # type: ignore[attr-defined]


def test_an_unknown_backend_gets_the_near_match(site: Any) -> None:
    site.install("acme", backend())
    with pytest.raises(UnknownNameError, match=r"no backend is called 'npuu'; did you mean 'npu'\?"):
        site.plugins().backend("npuu")


@pytest.mark.bad_input(25)
def test_an_unknown_policy_gets_the_list_when_nothing_is_near() -> None:
    with pytest.raises(UnknownNameError, match="no policy is called 'zzz'; known: .*fixed.*tokens"):
        default_plugins().policy("zzz")


@pytest.mark.bad_input(24)
def test_an_unavailable_backend_gives_reason_remedy_and_origin(site: Any) -> None:
    site.install("acme", backend(probe="return 'acme_arrays is not installed'"), version="0.3")
    plugins = site.plugins()
    with pytest.raises(BackendUnavailableError) as caught:
        plugins.backend("npu")
    assert str(caught.value) == (
        "backend 'npu' (acme 0.3) cannot run here: acme_arrays is not installed; pip install acme[npu]"
    )
    (line,) = plugins.backends()
    assert (line.available, line.reason) == (False, "acme_arrays is not installed")
    assert line.remedy == "pip install acme[npu]"


def test_a_lent_backend_stands_for_one_that_cannot_run_here(site: Any) -> None:
    site.install("acme", backend(probe="return 'no device'"))
    plugins, lent = site.plugins(), type("Lent", (), {"name": "npu", "owns": lambda self, array: True})()
    with pytest.raises(KeyError), plugins.lent(lent):
        assert plugins.backend("npu") is lent
        assert plugins.backend_for([array("acme_arrays")]) is lent
        raise KeyError
    with pytest.raises(BackendUnavailableError):
        plugins.backend("npu")


def test_pip_install_is_no_remedy_for_what_is_installed(site: Any) -> None:
    site.install("acme", backend(probe="return 'no device'", module="json"))
    (line,) = site.plugins().backends()
    assert (line.reason, line.remedy) == ("no device", "")


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        ("1 / 0", "its probe raised ZeroDivisionError"),
        ("return False", "its probe returned bool"),
        ("return ''", "its probe gave no reason"),
    ],
)
def test_a_faulty_probe_makes_the_backend_unavailable(site: Any, probe: str, text: str) -> None:
    site.install("acme", backend(probe=probe))
    plugins = site.plugins()
    assert text in plugins.backends()[0].reason
    with pytest.raises(BackendUnavailableError, match=text):
        plugins.backend("npu")


def test_a_backend_whose_module_is_missing_chains_the_cause(site: Any) -> None:
    site.install("acme", backend().replace('__name__ + ":Device"', '"acme_missing:Device"'))
    with pytest.raises(
        PluginLoadError, match="backend 'npu' .*acme_missing:Device.*ModuleNotFoundError"
    ) as caught:
        site.plugins().backend("npu")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_backend_that_raises_when_built_chains_the_cause(site: Any) -> None:
    site.install(
        "acme", backend().replace("type(self).built.append(self)", "raise OSError('no device file')")
    )
    with pytest.raises(PluginLoadError, match="OSError: no device file") as caught:
        site.plugins().backend("npu")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.bad_input(55)
def test_a_backend_without_a_method_is_told_which(site: Any) -> None:
    site.install("acme", backend().replace("(Backend)", "") + "    \n")
    with pytest.raises(
        PluginError, match="'npu'.*does not implement classify, concatenate, .*protocol Backend"
    ):
        site.plugins().backend("npu")


def test_a_method_that_cannot_be_called_counts_as_missing(site: Any) -> None:
    site.install("acme", backend().replace("built = []", "built = []\n    memory = 3"))
    with pytest.raises(PluginError, match="does not implement memory of"):
        site.plugins().backend("npu")


def test_a_named_backend_never_falls_back(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("acme", backend("npu", probe="return 'no device'"))
    with pytest.raises(BackendUnavailableError):
        site.plugins().backend("npu")


def test_auto_takes_the_highest_priority_that_owns_an_input(site: Any) -> None:
    site.install("microbatch", backend("cpu", owns="Nothing", module="numpy", priority=0))
    site.install("low", backend("low", priority=1))
    site.install("high", backend("high", priority=5))
    site.install("higher", backend("higher", owns="Other", priority=9))
    plugins = site.plugins()
    leaves = [array("numpy"), array("acme_arrays")]
    assert plugins.backend_for(leaves).name == "high"
    assert plugins.backend_for(leaves) is plugins.backend_for(leaves)
    assert plugins.backend_for([array("acme_arrays", "Nobodys")]).name == "cpu"
    assert plugins.backend_for([]).name == "cpu"


def test_auto_neither_probes_nor_loads_backends_of_other_frameworks(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("acme", backend(probe="raise AssertionError('probed')").replace(':Device"', ':Missing"'))
    assert site.plugins().backend_for([array("numpy.core")]).name == "cpu"


def test_auto_sees_through_subclasses(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("acme", backend(owns="Mine"))
    base = type("Array", (), {"__module__": "acme_arrays.core"})
    assert site.plugins().backend_for([type("Mine", (base,), {})()]).name == "npu"


def test_auto_passes_over_a_backend_that_cannot_run(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("acme", backend(probe="return 'no device'"))
    assert site.plugins().backend_for([array("acme_arrays")]).name == "cpu"


def test_auto_passes_over_a_broken_backend_if_another_owns_the_inputs(site: Any) -> None:
    site.install("broken", backend("broken", priority=99).replace(':Device"', ':Missing"'))
    site.install("acme", backend())
    assert site.plugins().backend_for([array("acme_arrays")]).name == "npu"


def test_auto_says_so_when_only_a_broken_backend_could_own_the_inputs(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("broken", backend("broken").replace(':Device"', ':Missing"'))
    with pytest.raises(PluginLoadError, match="'broken'"):
        site.plugins().backend_for([array("acme_arrays")])


def test_auto_leaves_out_names_that_clash(site: Any) -> None:
    site.install("microbatch", backend("cpu", module="numpy", priority=0))
    site.install("acme", backend())
    site.install("brook", backend())
    assert site.plugins().backend_for([array("acme_arrays")]).name == "cpu"


@given(
    st.permutations([(1, "a"), (5, "b"), (5, "c"), (-2, "d")]), st.sets(st.sampled_from("abcd"), min_size=1)
)
def test_auto_does_not_depend_on_the_order_of_announcement(
    order: list[tuple[int, str]], owners: set[str]
) -> None:
    """Highest priority first, then the name; whoever owns the leaf gets it."""
    offers = [
        BackendInfo(
            name=name,
            load=f"{__name__}:make_{name}",
            probe=lambda: None,
            priority=priority,
            modules=("acme",),
        )
        for priority, name in order
    ]
    plugins = Plugins(entry_points=(), extra=(_Announcing(offers),), environment={})
    for name in "abcd":
        plugins._backends[name] = _Owning(name, owners)
    priorities = {name: priority for priority, name in order}
    best = min(owners, key=lambda name: (-priorities[name], name))
    assert plugins.backend_for([array("acme")]).name == best


class _Announcing:
    def __init__(self, offers: list[BackendInfo]) -> None:
        self.offers = offers

    @hookimpl
    def microbatch_register_backends(self) -> list[BackendInfo]:
        return self.offers


class _Owning(Backend):
    def __init__(self, name: str, owners: set[str]) -> None:
        self.name = name
        self.owners = owners

    def owns(self, array: object) -> bool:
        return self.name in self.owners


POLICY = """
class Half:
    def __init__(self, share=2): self.share = share
    def propose(self, request): return Proposal(limit=1)
    def observe(self, report): pass

@hookimpl
def microbatch_register_policies():
    return [PolicyInfo(name="half", load=__name__ + ":Half")]
"""


def test_each_lookup_of_a_policy_gives_a_new_one_with_its_options(site: Any) -> None:
    site.install("acme", POLICY)
    plugins = site.plugins()
    assert plugins.policy("half") is not plugins.policy("half")
    assert plugins.policy("half", share=3).share == 3


def test_an_option_that_a_policy_does_not_take_is_told(site: Any) -> None:
    site.install("acme", POLICY, version="1.2")
    told = r"policy 'half' \(acme 1\.2\) has no option 'shar'; did you mean 'share'\?"
    with pytest.raises(UnknownNameError, match=told):
        site.plugins().policy("half", shar=3)


def test_a_policy_without_a_method_is_told_which(site: Any) -> None:
    site.install("acme", POLICY.replace("def propose", "def proposes"))
    with pytest.raises(PluginError, match="does not implement propose of the protocol SizingPolicy"):
        site.plugins().policy("half")


class Listener:
    def __init__(self) -> None:
        self.heard: list[StepReport] = []

    @hookimpl
    def microbatch_step_finished(self, report: StepReport) -> None:
        self.heard.append(report)


class Careless:
    @hookimpl
    def microbatch_step_finished(self) -> None:
        raise ValueError("lost my pen")


def test_nobody_listens_by_default() -> None:
    assert not Plugins(entry_points=(), environment={}).listeners()


def test_an_observer_hears_each_step() -> None:
    listener = Listener()
    plugins = Plugins(entry_points=(), extra=(listener,), environment={})
    assert plugins.listeners()
    plugins.step_finished(REPORT)
    plugins.step_finished(REPORT)
    assert listener.heard == [REPORT, REPORT]


def test_an_observer_that_raises_warns_once_and_the_others_still_hear() -> None:
    listener = Listener()
    plugins = Plugins(entry_points=(), extra=(Careless(), listener), environment={})
    with pytest.warns(RuntimeWarning, match="Careless.* raised ValueError: lost my pen") as caught:
        plugins.step_finished(REPORT)
    plugins.step_finished(REPORT)
    assert len(caught) == 1
    assert len(listener.heard) == 2
    assert not plugins.registry.problems.keys() - plugins.registry.complained
    assert [text.count("lost my pen") for text in plugins.registry.problems[plugins.registry.found[0]]] == [1]


def test_an_observer_that_raises_breaks_no_step_under_warnings_as_errors() -> None:
    listener = Listener()
    plugins = Plugins(entry_points=(), extra=(Careless(), listener), environment={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plugins.step_finished(REPORT)
    assert len(listener.heard) == 1


def test_the_default_is_shared() -> None:
    assert default_plugins() is default_plugins()
