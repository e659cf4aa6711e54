"""Announces a backend to microbatch.

Invariant: this module is imported whenever plugins are looked for, so it imports neither your library nor the
backend; that is imported when somebody uses it.
"""

from __future__ import annotations

from microbatch import BackendInfo, hookimpl


def probe() -> str | None:
    """Why it cannot run here, None where it can. It must not import your library."""
    return None


@hookimpl
def microbatch_register_backends() -> list[BackendInfo]:
    """Announce `sample`. With your own arrays give `modules` and a priority above 0: `auto` then takes it."""
    return [
        BackendInfo(
            name="sample",
            load="microbatch_sample_device:SampleBackend",
            probe=probe,
            priority=-1,
            modules=("numpy",),
            summary="a backend to begin with",
        )
    ]
