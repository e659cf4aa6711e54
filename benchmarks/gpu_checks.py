"""The parts of `python -m benchmarks gpu --all` that show that things work, before any is timed."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np

import microbatch
from benchmarks.gpu_devices import Missing, can_be_simulated, card, needed
from benchmarks.gpu_parts import Framework
from benchmarks.gpu_scale import Scale
from benchmarks.table import Row

__all__ = ["devices", "out_of_memory", "smoke", "tests"]

ROOT = Path(__file__).parents[1]
"""Of the repository: tests and benchmarks are run from a clone."""
SCHEDULES = ("sequential", "pingpong", "streamed")
CAP = 0.05
"""Share of the device's memory that is left where memory is to run out."""
TOLD = 10
"""Most failing tests that are told of."""


def devices(scale: Scale) -> tuple[list[Row], dict[str, Any]]:
    """The card and the versions; which framework has no device, and why."""
    facts: dict[str, Any] = {"python": platform.python_version(), "microbatch": microbatch.__version__}
    absent: dict[str, dict[str, str]] = {}
    frameworks: tuple[Framework, ...] = ("torch", "cupy")
    rows = []
    for framework in frameworks:
        try:
            found = card(framework)
            facts.setdefault("card", found)
        except Missing as missing:
            found = str(missing)
            if scale.simulated and can_be_simulated(framework, missing):
                found = f"simulated: {found}"
            else:
                absent[framework] = {"state": missing.state, "text": found}
        else:
            facts[framework] = needed(framework).__version__
        rows.append(Row(work=framework, against="", aim="", measured=found, reached=True))
    return rows, facts | {"absent": absent, "numpy": version("numpy")}


def smoke(scale: Scale, backend: str) -> list[Row]:
    """One small function under each schedule, from the device and from the host, against the plain call."""
    values = np.arange(24, dtype="f4").reshape(12, 2)
    there, here = _given(backend, values)
    rows = [_smoke(backend, schedule, there, values, "device") for schedule in SCHEDULES]
    return [*rows, _smoke(backend, "streamed", here, values, "host")]


def _smoke(backend: str, schedule: str, given: Any, values: np.ndarray, source: str) -> Row:
    with microbatch.wrap(
        lambda x: x * 2 + 1, backend=backend, schedule=schedule, policy="fixed", num_ubatches=3
    ) as step:
        found = _read(step(given))
        parts = step.last_report.num_ubatches
    same = bool(np.array_equal(found, values * 2 + 1))
    return Row(
        work=f"{backend}, {schedule}, from the {source}",
        against="the plain call",
        aim="equal, in 3 parts",
        measured=f"{'equal' if same else 'OTHER NUMBERS'}, in {parts}",
        reached=same and parts == 3,
    )


def _given(backend: str, values: np.ndarray) -> tuple[Any, Any]:
    """The values on the device, and on the host as that framework has them there."""
    if backend == "cupy":
        return needed("cupy").asarray(values), values
    tensor = needed("torch").from_numpy(values)
    return tensor.cuda(), tensor


def _read(array: Any) -> np.ndarray:
    if hasattr(array, "get"):
        return np.asarray(array.get())
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)


def tests(scale: Scale, *arguments: str) -> list[Row]:
    """Tests, as pytest counts them; the first that fail by name and reason."""
    needed("pytest")
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            f"--junit-xml={report}",
            f"--rootdir={ROOT}",
        ]
        done = subprocess.run([sys.executable, "-m", "pytest", *options, *arguments], cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    failed, skipped = _told(cases, "failure", "error"), _told(cases, "skipped")
    passed = len(cases) - len(failed) - len(skipped)
    return [
        Row(work=" ".join(arguments), against="", aim="all pass",
            measured=f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped",
            reached=done.returncode == 0 and passed > 0,
            details={"failed": failed[:TOLD], "skipped": skipped})
    ]  # fmt: skip


def _told(cases: list[ElementTree.Element], *kinds: str) -> list[str]:
    """Names of the tests that ended so, and why."""
    return [
        f"{case.get('name')}: {why.get('message', '')[:300]}"
        for case in cases
        if (why := next((one for kind in kinds for one in case.iter(kind)), None)) is not None
    ]


def out_of_memory(scale: Scale) -> list[Row]:
    """A step that fits only in parts, on a device of which little may be used."""
    torch = needed("torch")
    torch.cuda.set_per_process_memory_fraction(CAP)
    try:
        return [_runs_in_parts(scale, torch)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _runs_in_parts(scale: Scale, torch: Any) -> Row:
    rows = max(8, int(CAP * torch.cuda.get_device_properties(0).total_memory) // (8 * 4 * scale.width))
    x = torch.ones(rows, scale.width, device="cuda")
    before = torch.cuda.memory_allocated()
    with microbatch.wrap(
        lambda x: x.repeat(1, 16).sum(1), backend="torch-cuda", policy="fixed", num_ubatches=1, verify="never"
    ) as step:
        result = step(x)
        report = step.last_report
    right = bool((result == 16 * scale.width).all().item())
    del result, step
    torch.cuda.synchronize()
    kept = torch.cuda.memory_allocated() - before
    return Row(
        work=f"{rows} rows that need 17 times their bytes, {CAP:.0%} of the device",
        against="the plain sum",
        aim="runs out, then is right, and keeps nothing",
        measured=f"{len(report.oom_sizes)} times out of memory, {'right' if right else 'WRONG'}",
        reached=bool(report.oom_sizes) and right and kept <= 0,
        details={"attempts": list(report.oom_sizes), "parts": report.num_ubatches, "kept_bytes": kept},
    )
