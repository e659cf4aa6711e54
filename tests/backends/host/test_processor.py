"""What the host's processor is called."""

from __future__ import annotations

import platform
from pathlib import Path

from microbatch.extend.abilities import SupportsDeviceName
from microbatch.host.proc import processor_name
from microbatch_backends.host.backend import CpuBackend


def test_the_model_and_the_cores_that_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Acme 3: Turbo\n\nmodel name\t: Other\n"
    )
    assert processor_name(tmp_path).startswith("Acme 3: Turbo, ")
    assert processor_name(tmp_path).endswith(" cores")


def test_the_architecture_where_no_model_is_told(tmp_path: Path) -> None:
    assert processor_name(tmp_path).startswith(f"{platform.machine()}, ")


def test_the_backend_says_it() -> None:
    backend = CpuBackend()
    assert isinstance(backend, SupportsDeviceName)
    assert backend.device_name() == processor_name()
