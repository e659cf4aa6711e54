"""Whether a backend can run here, without importing its framework.

Invariant: never raises. A probe that raises, or answers something else than None or text, is the reason why.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from microbatch.extend.records import BackendInfo

__all__ = ["why_not"]


def why_not(info: BackendInfo) -> tuple[str, str]:
    """(reason, remedy), both empty when the backend can run.

    A hint that says `pip install` is a remedy only where a module of the backend is missing: with CuPy there
    and no driver it would be wrong advice.
    """
    try:
        answer: object = info.probe()
    except Exception as error:  # noqa: BLE001 - a probe is a third party's code
        return f"its probe raised {type(error).__name__}: {error}", ""
    if answer is None:
        return "", ""
    if not isinstance(answer, str):
        return f"its probe returned {type(answer).__name__}, not None or a reason", ""
    installed = bool(info.modules) and all(_importable(module) for module in info.modules)
    pointless = installed and "pip install" in info.install
    return answer or "its probe gave no reason", "" if pointless else info.install


def _importable(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
