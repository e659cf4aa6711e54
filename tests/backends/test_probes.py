"""Announcing and probing loads no framework, and a probe answers instead of raising."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from microbatch_backends import microbatch_register_backends, probes


def test_announcing_and_probing_import_no_framework() -> None:
    code = (
        "import sys, microbatch_backends as b\n"
        "reasons = [(info.name, info.probe()) for info in b.microbatch_register_backends()]\n"
        "assert dict(reasons)['cpu'] is None\n"
        "loaded = {'torch', 'cupy', 'threadpoolctl'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} were imported' if loaded else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_records_are_of_this_contract_and_their_names_differ() -> None:
    infos = microbatch_register_backends()
    assert len({info.name for info in infos}) == len(infos)
    assert all(info.summary and info.install for info in infos)
    assert [info.priority for info in infos if info.name == "cpu"] == [0]


@pytest.mark.parametrize("name", [info.name for info in microbatch_register_backends()])
def test_what_can_run_here_can_be_loaded_under_its_name(name: str) -> None:
    info = next(info for info in microbatch_register_backends() if info.name == name)
    reason = info.probe()
    if reason is not None:
        assert reason and reason[0] != " "
        return
    module, _, kind = info.load.partition(":")
    __import__(module)
    assert getattr(sys.modules[module], kind)().name == name


def test_a_missing_module_is_a_reason() -> None:
    assert probes.module_missing("no_such_module_here") == "the module no_such_module_here is not installed"
    assert "failed" in str(probes.module_missing("numpy.no.such"))
    assert probes.module_missing("numpy") is None


def test_no_driver_and_no_device_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "probe_torch", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "no NVIDIA driver" in str(probes.probe_cuda(tmp_path))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    for platforms in (frozenset({"cuda"}), None):
        monkeypatch.setattr(probes, "_platforms", lambda platforms=platforms: platforms)
        assert probes.probe_cuda(tmp_path) is None
    monkeypatch.setattr(probes, "_platforms", frozenset)
    assert "without CUDA" in str(probes.probe_cuda(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES" in str(probes.probe_cuda(tmp_path))


def test_a_build_for_amd_asks_for_an_amd_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "probe_torch", lambda: None)
    monkeypatch.setattr(probes, "_platforms", lambda: frozenset({"hip"}))
    assert "AMD" in str(probes.probe_cuda(tmp_path))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    assert probes.probe_cuda(tmp_path) is None


def test_an_intel_device_needs_a_node_and_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "probe_torch", lambda: None)
    monkeypatch.setattr(probes, "_platforms", lambda: frozenset({"xpu"}))
    assert "renderD" in str(probes.probe_xpu(tmp_path))
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    assert probes.probe_xpu(tmp_path) is None
    for platforms in (frozenset({"cuda"}), None):
        monkeypatch.setattr(probes, "_platforms", lambda platforms=platforms: platforms)
        assert "without XPU" in str(probes.probe_xpu(tmp_path))


@pytest.mark.parametrize(
    ("text", "platforms"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", frozenset()),
        ("cuda = '13.0'\nhip = None\n", frozenset({"cuda"})),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '7.1'\nxpu = None\n", frozenset({"hip"})),
        ("__version__ = '2.13.0'\n", None),
    ],
)
def test_what_torch_was_built_for_is_read_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, platforms: frozenset[str] | None
) -> None:
    (tmp_path / "version.py").write_text(text)
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(probes.importlib.util, "find_spec", lambda name: found)
    assert probes._platforms() == platforms


def test_without_torch_its_backends_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "module_missing", lambda name: f"the module {name} is not installed")
    assert (
        probes.probe_torch()
        == probes.probe_cuda()
        == probes.probe_xpu()
        == "the module torch is not installed"
    )
