"""Whether a backend can run on this machine, found out without importing its framework.

Invariant: after its first call a probe answers in well under a millisecond. It starts no process, and no
driver either, since that would break a later fork. It returns a reason instead of raising.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path


def probe_numpy() -> str | None:
    """None: NumPy is a dependency of microbatch itself."""
    return module_missing("numpy")


def probe_torch() -> str | None:
    """Why there is no PyTorch here, or None."""
    return module_missing("torch")


def probe_cuda(root: Path = Path("/")) -> str | None:
    """Why PyTorch cannot reach an NVIDIA device (or, built for ROCm, an AMD one) here, or None.

    A driver library or a device node is enough: a Jetson has no `/dev/nvidiactl`, and WSL has the library
    only.
    """
    if missing := probe_torch():
        return missing
    platforms = _platforms()
    if platforms is not None and "hip" in platforms:
        return None if (root / "dev/kfd").exists() else "no AMD device node was found (dev/kfd)"
    without = platforms is not None and "cuda" not in platforms
    return _no_device(root) or ("the installed PyTorch was built without CUDA" if without else None)


def probe_xpu(root: Path = Path("/")) -> str | None:
    """Why PyTorch cannot reach an Intel GPU here, or None."""
    if missing := probe_torch():
        return missing
    if not any((root / "dev/dri").glob("renderD*")) and not (root / "dev/dxg").exists():
        return "no GPU device node was found (dev/dri/renderD*)"
    return None if "xpu" in (_platforms() or ()) else "the installed PyTorch was built without XPU"


def probe_cupy(root: Path = Path("/")) -> str | None:
    """Why CuPy cannot reach an NVIDIA device here, or None."""
    return module_missing("cupy") or _no_device(root)


def probe_jax() -> str | None:
    """Why there is no JAX here, or None; which devices it has is known only once it is loaded."""
    return module_missing("jax") or module_missing("jaxlib")


def module_missing(name: str) -> str | None:
    """Why `name` cannot be imported, or None; finds the module without running it."""
    if name in sys.modules and sys.modules[name] is not None:
        return None
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        return f"looking for the module {name} failed: {error}"
    return None if found is not None else f"the module {name} is not installed"


def _no_device(root: Path) -> str | None:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip().replace("-1", "") == "":
        return "CUDA_VISIBLE_DEVICES is empty, so no device is visible"
    if not _has_driver(root):
        return "no NVIDIA driver was found (neither libcuda nor a device node)"
    return None


def _has_driver(root: Path) -> bool:
    nodes = ("dev/nvidiactl", "dev/nvhost-ctrl-gpu", "dev/nvgpu", "dev/dxg")
    if any((root / node).exists() for node in nodes):
        return True
    import ctypes.util  # loads subprocess: 3 ms, and only the probes of GPUs need it

    return root == Path("/") and ctypes.util.find_library("cuda") is not None


def _platforms() -> frozenset[str] | None:
    """What PyTorch was built for (`cuda`, `hip`, `xpu`), by its `version.py`; None where it tells nothing."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    # lines such as `cuda: Optional[str] = None`
    found = re.findall(r"^(cuda|hip|xpu)\b[^=\n]*= *(\S+)", text, re.MULTILINE)
    return frozenset(name for name, value in found if value != "None") if found else None
