"""The plugin: announces `opencl` without importing pyopencl."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from microbatch import BackendInfo, hookimpl

__all__ = ["probe"]


def probe(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why there is no OpenCL here, or None: pyopencl and a driver's entry (an .icd file, or PoCL's wheel)
    are needed."""
    if find_spec("pyopencl") is None:
        return "pyopencl is not installed"
    if find_spec("pocl_binary_distribution") is not None or environment.get("OCL_ICD_FILENAMES"):
        return None
    vendors = Path(environment.get("OCL_ICD_VENDORS") or "/etc/OpenCL/vendors")
    if vendors.is_file() or any(vendors.glob("*.icd")):
        return None
    return f"no OpenCL driver is announced in {vendors}"


@hookimpl
def microbatch_register_backends() -> list[BackendInfo]:
    """Announce `opencl`."""
    return [
        BackendInfo(
            name="opencl",
            load="microbatch_opencl.backend:OpenClBackend",
            probe=probe,
            priority=5,
            modules=("microbatch_opencl",),
            install="pip install 'pyopencl[pocl]'",
            summary="OpenCL devices, PoCL's CPU among them",
        )
    ]
