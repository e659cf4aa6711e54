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

    The install hint is the remedy only where a module of the backend is missing: with torch there and no driver,
    `pip install` would be wrong advice.
    """
    try:
        answer: object = info.probe()
    except Exception as error:  # noqa: BLE001 - a probe is a third party's code
        return f"its probe raised {type(error).__name__}: {error}", ""
    if answer is None:
        return "", ""
    if not isinstance(answer, str):
        return f"its probe returned {type(answer).__name__}, not None or a reason", ""
    missing = not info.modules or any(not _importable(module) for module in info.modules)
    return answer or "its probe gave no reason", info.install if missing else ""


def _importable(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
