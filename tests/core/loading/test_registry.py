"""What plugins announce: misspelt hooks, wrong answers, wrong records and clashes, each isolated and
named."""

from __future__ import annotations

from typing import Any

import pytest

from microbatch.errors import PluginConflictError

POLICY = """
class Half:
    def propose(self, request): return Proposal(limit=1)
    def observe(self, report): pass
"""

ANNOUNCE = """
@hookimpl
def microbatch_register_policies():
    return [PolicyInfo(name="half", load=__name__ + ":Half")]
"""


def reason(plugins: Any, name: str = "acme") -> str:
    return next(line.reason for line in plugins.plugins() if line.name == name)


@pytest.mark.bad_input(54)
def test_an_unknown_hook_is_reported_with_the_near_match(site: Any) -> None:
    site.install("acme", "@hookimpl\ndef microbatch_register_backend(): return []")
    text = reason(site.plugins())
    assert "'microbatch_register_backend'" in text and "did you mean 'microbatch_register_backends'" in text


def test_an_unknown_hook_of_one_plugin_leaves_the_others_alone(site: Any) -> None:
    site.install("acme", "@hookimpl\ndef microbatch_register_backend(): return []")
    site.install("brook", POLICY + ANNOUNCE)
    plugins = site.plugins()
    assert reason(plugins, "brook") == ""
    assert plugins.policy("half") is not None


def test_an_optional_unknown_hook_is_accepted(site: Any) -> None:
    source = "@hookimpl(optionalhook=True)\ndef microbatch_of_the_future(): return []"
    site.install("acme", source)
    assert reason(site.plugins()) == ""


def test_of_a_plugin_with_an_unknown_hook_nothing_is_used(site: Any) -> None:
    site.install("acme", POLICY + ANNOUNCE + "\n@hookimpl\ndef microbatch_register_backend(): return []")
    plugins = site.plugins()
    assert plugins.policies() == ()
    assert not plugins.plugins()[0].available


def test_only_the_unknown_hook_that_is_not_optional_is_reported(site: Any) -> None:
    source = """
    @hookimpl
    def microbatch_register_backend(): return []

    @hookimpl(optionalhook=True)
    def microbatch_of_the_future(): return []
    """
    site.install("acme", source)
    text = reason(site.plugins())
    assert "microbatch_register_backend" in text and "future" not in text


def test_a_function_of_another_module_is_not_taken_for_a_forgotten_hook(site: Any) -> None:
    site.install("acme", "from microbatch.extend.hookspecs import microbatch_step_finished")
    assert reason(site.plugins()) == ""


def test_a_hook_without_the_marker_is_reported(site: Any) -> None:
    site.install("acme", "def microbatch_register_backends(): return []")
    assert "mark it with @microbatch.hookimpl" in reason(site.plugins())


def test_a_misspelt_function_without_the_marker_is_reported_with_the_near_match(site: Any) -> None:
    site.install("acme", "def microbatch_step_finishd(report): pass")
    assert "did you mean 'microbatch_step_finished'" in reason(site.plugins())


@pytest.mark.bad_input(54)
def test_a_wrong_argument_name_is_reported_with_plugin_and_hook(site: Any) -> None:
    site.install("acme", "@hookimpl\ndef microbatch_step_finished(rapport): pass", version="2.5")
    text = reason(site.plugins())
    assert "acme 2.5" in text and "microbatch_step_finished" in text and "rapport" in text


def test_a_hook_wrapper_is_refused(site: Any) -> None:
    source = "@hookimpl(wrapper=True)\ndef microbatch_register_policies():\n    return (yield)"
    site.install("acme", source)
    assert "hook wrapper" in reason(site.plugins())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("None", "returned NoneType (was `return` forgotten?)"),
        ("'half'", "returned str"),
        ("PolicyInfo(name='half', load='a:B')", "returned PolicyInfo; return a sequence of PolicyInfo"),
        ("['half']", "announced 'half' (str); announce PolicyInfo"),
        ("[PolicyInfo(name='half', load='a:B', api=0)]", "'half' speaks plugin API 0, this is 1"),
        ("[PolicyInfo(name='Half', load='a:B')]", "name must be lower-case"),
        ("[PolicyInfo(name='a,b', load='a:B')]", "name must be lower-case"),
        ("[PolicyInfo(name=3, load='a:B')]", "name must be"),
        ("[PolicyInfo(name='half', load='a.B')]", "load must be 'package.module:Class'"),
        ("[PolicyInfo(name='half', load='a:B', summary=None)]", "summary must be text"),
        ("1 / 0", "microbatch_register_policies raised ZeroDivisionError"),
    ],
)
def test_a_wrong_answer_is_reported_and_costs_the_others_nothing(site: Any, answer: str, text: str) -> None:
    site.install("acme", f"@hookimpl\ndef microbatch_register_policies(): return {answer}")
    site.install("brook", POLICY + ANNOUNCE)
    plugins = site.plugins()
    assert text in reason(plugins)
    assert [line.name for line in plugins.policies()] == ["half"]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("probe=None", "probe must be a function"),
        ("priority=True", "priority must be an integer"),
        ("priority='1'", "priority must be an integer"),
        ("modules='torch'", "modules must be a tuple"),
        ("install=None", "install must be text"),
    ],
)
def test_a_wrong_field_of_a_backend_is_reported(site: Any, field: str, text: str) -> None:
    fields = {"name": "'npu'", "load": "'a:B'", "probe": "lambda: None"} | dict([field.split("=")])
    record = ", ".join(f"{key}={value}" for key, value in fields.items())
    site.install("acme", f"@hookimpl\ndef microbatch_register_backends(): return [BackendInfo({record})]")
    plugins = site.plugins()
    assert text in reason(plugins)
    assert plugins.backends() == ()


def test_good_records_next_to_a_bad_one_are_kept(site: Any) -> None:
    records = "[PolicyInfo(name='half', load=__name__ + ':Half'), 3]"
    site.install("acme", f"{POLICY}\n@hookimpl\ndef microbatch_register_policies(): return {records}")
    plugins = site.plugins()
    assert plugins.policy("half") is not None
    assert "announced 3 (int)" in reason(plugins)


def test_a_generator_is_an_answer(site: Any) -> None:
    source = "@hookimpl\ndef microbatch_register_policies():\n    yield PolicyInfo(name='half', load='a:B')"
    site.install("acme", source)
    assert [line.name for line in site.plugins().policies()] == ["half"]


def test_hooks_are_called_once(site: Any) -> None:
    source = """
    calls = []

    @hookimpl
    def microbatch_register_policies():
        calls.append(1)
        return []
    """
    site.install("acme", source)
    plugins = site.plugins()
    for _ in range(3):
        plugins.policies()
        plugins.plugins()
    assert __import__("acme_plugin").calls == [1]


@pytest.mark.bad_input(27)
def test_two_third_parties_with_one_name_are_an_error_that_names_both(site: Any) -> None:
    site.install("acme", POLICY + ANNOUNCE, version="1.0")
    site.install("brook", POLICY + ANNOUNCE, version="2.1")
    plugins = site.plugins()
    with pytest.raises(
        PluginConflictError, match=r"'half'.*acme 1\.0.*brook 2\.1.*MICROBATCH_DISABLE_PLUGINS"
    ):
        plugins.policy("half")
    lines = plugins.policies()
    assert [line.available for line in lines] == [False, False]
    assert all("acme 1.0" in line.reason and "brook 2.1" in line.reason for line in lines)


def test_one_plugin_that_announces_a_name_twice_clashes_with_itself(site: Any) -> None:
    records = "[PolicyInfo(name='half', load='a:B'), PolicyInfo(name='half', load='a:C')]"
    site.install("acme", f"@hookimpl\ndef microbatch_register_policies(): return {records}")
    with pytest.raises(PluginConflictError):
        site.plugins().policy("half")


def test_the_same_record_twice_is_no_clash(site: Any) -> None:
    records = "[PolicyInfo(name='half', load=__name__ + ':Half')] * 2"
    site.install("acme", f"{POLICY}\n@hookimpl\ndef microbatch_register_policies(): return {records}")
    assert len(site.plugins().policies()) == 1


def test_a_name_of_ours_cannot_be_taken(site: Any) -> None:
    site.install("microbatch", POLICY + ANNOUNCE)
    site.install("acme", POLICY + ANNOUNCE, version="6.6")
    plugins = site.plugins()
    assert [line.distribution for line in plugins.policies()] == ["microbatch"]
    assert "'half' is reserved" in reason(plugins)
    assert plugins.policy("half") is not None


def test_two_entry_points_to_one_module_register_once(site: Any) -> None:
    site.install("acme", POLICY + ANNOUNCE)
    site.install("brook", "", target="acme_plugin")
    plugins = site.plugins()
    assert "registered already" in reason(plugins, "brook")
    assert plugins.policy("half") is not None
