"""Which plugins run: switches, order, isolation of those that fail to import."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import UnknownNameError
from microbatch.loading.discovery import Switches

POLICY = """
class Half:
    def propose(self, request): return Proposal(limit=1)
    def observe(self, report): pass

@hookimpl
def microbatch_register_policies():
    return [PolicyInfo(name="{name}", load=__name__ + ":Half")]
"""


def policies(plugins: Any) -> list[str]:
    return [line.name for line in plugins.policies()]


def by_name(plugins: Any) -> dict[str, Any]:
    return {line.name: line for line in plugins.plugins()}


def test_a_plugin_that_fails_to_import_takes_nobody_along(site: Any) -> None:
    site.install("acme", "import a_module_that_is_not_there", version="3.1")
    site.install("good", POLICY.format(name="half"))
    plugins = site.plugins()
    assert policies(plugins) == ["half"]
    line = by_name(plugins)["acme"]
    assert not line.available
    assert (line.distribution, line.version) == ("acme", "3.1")
    assert "ModuleNotFoundError" in line.reason and "a_module_that_is_not_there" in line.reason
    assert "acme" in line.remedy


@pytest.mark.parametrize("source", ["raise SystemExit(3)", "def broken(:", "1 / 0", "import sys; sys.exit()"])
def test_whatever_an_import_raises_is_kept_as_its_reason(site: Any, source: str) -> None:
    site.install("acme", source)
    assert not by_name(site.plugins())["acme"].available


def test_an_entry_point_to_a_missing_attribute_is_broken(site: Any) -> None:
    site.install("acme", "", target="acme_plugin:nothing")
    assert "AttributeError" in by_name(site.plugins())["acme"].reason


def test_an_entry_point_to_a_class_says_so(site: Any) -> None:
    site.install("acme", "class Plugin: pass", target="acme_plugin:Plugin")
    assert "is a class" in by_name(site.plugins())["acme"].reason


def test_an_entry_point_to_none_is_broken(site: Any) -> None:
    site.install("acme", "plugin = None", target="acme_plugin:plugin")
    assert "None" in by_name(site.plugins())["acme"].reason


def test_a_failed_import_is_told_when_a_name_is_not_found(site: Any) -> None:
    site.install("acme", "raise RuntimeError('no licence')", version="3.1")
    with pytest.raises(UnknownNameError, match=r"plugin 'acme' \(acme 3\.1\).*RuntimeError: no licence"):
        site.plugins().backend("npu")


@pytest.mark.parametrize("value", ["acme", "the-entry", "The_Entry", "other, acme", "all", "1"])
def test_disable_switches_off_by_distribution_entry_point_or_wholesale(site: Any, value: str) -> None:
    site.install("acme", POLICY.format(name="half"), entry="the-entry")
    plugins = site.plugins(MICROBATCH_DISABLE_PLUGINS=value)
    assert policies(plugins) == []
    assert "blocked by MICROBATCH_DISABLE_PLUGINS" in by_name(plugins)["the-entry"].reason


def test_a_blocked_plugin_is_not_even_imported(site: Any) -> None:
    site.install("acme", "raise AssertionError('imported')")
    line = by_name(site.plugins(MICROBATCH_PLUGINS=""))["acme"]
    assert "imported" not in line.reason and "blocked by MICROBATCH_PLUGINS" in line.reason


def test_the_allow_list_lets_through_what_it_names(site: Any) -> None:
    site.install("acme", POLICY.format(name="half"))
    site.install("other", POLICY.format(name="third"))
    assert policies(site.plugins(MICROBATCH_PLUGINS="other")) == ["third"]
    assert policies(site.plugins(MICROBATCH_PLUGINS="other,ACME")) == ["half", "third"]
    assert policies(site.plugins(MICROBATCH_PLUGINS="")) == []


@pytest.mark.bad_input(26)
def test_a_blocked_plugin_is_told_when_a_name_is_not_found(site: Any) -> None:
    site.install("acme", POLICY.format(name="half"))
    with pytest.raises(UnknownNameError, match="blocked by MICROBATCH_DISABLE_PLUGINS=acme"):
        site.plugins(MICROBATCH_DISABLE_PLUGINS="acme").policy("half")


def test_what_comes_with_microbatch_cannot_be_switched_off(site: Any) -> None:
    site.install("microbatch", POLICY.format(name="half"))
    plugins = site.plugins(MICROBATCH_DISABLE_PLUGINS="all,microbatch", MICROBATCH_PLUGINS="")
    assert policies(plugins) == ["half"]


def test_metadata_listed_twice_counts_once(site: Any) -> None:
    site.install("acme", POLICY.format(name="half"))
    once = site.plugins()
    points = [*once._entry_points, *once._entry_points]
    twice = type(once)(entry_points=points, environment={})
    assert len(twice.plugins()) == 1
    assert twice.policy("half") is not None


def test_the_order_of_the_import_path_does_not_show(site: Any) -> None:
    for name in ("beta", "alpha", "microbatch"):
        site.install(name, POLICY.format(name=f"of-{name}"))
    forward = site.plugins()
    backward = type(forward)(entry_points=reversed(forward._entry_points), environment={})
    names = [line.distribution for line in forward.plugins()]
    assert names == [line.distribution for line in backward.plugins()] == ["microbatch", "alpha", "beta"]


@given(
    st.lists(st.sampled_from(["a", "b", "c"])),
    st.none() | st.lists(st.sampled_from(["a", "b", "c"])),
    st.sampled_from(["a", "b", "c"]),
)
def test_switches_follow_the_model(disabled: list[str], allowed: list[str] | None, name: str) -> None:
    environment = {"MICROBATCH_DISABLE_PLUGINS": ",".join(disabled)}
    if allowed is not None:
        environment["MICROBATCH_PLUGINS"] = ",".join(allowed)
    runs = name not in disabled and (allowed is None or name in allowed)
    assert (Switches.read(environment).blocked(name, "some-distribution") == "") is runs
