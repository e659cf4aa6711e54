"""Announcing and probing loads no framework, and a probe answers instead of raising."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    monkeypatch.setattr(probes, "_built_with_cuda", lambda: True)
    assert probes.probe_cuda(tmp_path) is None
    monkeypatch.setattr(probes, "_built_with_cuda", lambda: False)
    assert "without CUDA" in str(probes.probe_cuda(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES" in str(probes.probe_cuda(tmp_path))


def test_without_torch_its_backends_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "module_missing", lambda name: f"the module {name} is not installed")
    assert probes.probe_torch() == probes.probe_cuda() == "the module torch is not installed"
