"""The five hooks of the `microbatch` entry-point group; all are called at set-up or once per step.

Invariant: a hook returns or receives frozen records, never an array, stream or event. Hooks say who is there;
work goes through the protocols.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo, RowsInfo, StepReport

PROJECT = "microbatch"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def microbatch_register_backends() -> Sequence[BackendInfo]:  # type: ignore[empty-body]
    """Announce backends. Called once, when backends are first listed or looked up.

    The module that holds the hook must be light: name the class as text, and let the probe look without
    importing. A complete plugin::

        from importlib.util import find_spec
        from microbatch import BackendInfo, hookimpl

        def probe():
            return None if find_spec("acme_npu") else "acme_npu is not installed"

        @hookimpl
        def microbatch_register_backends():
            return [
                BackendInfo(
                    name="npu",
                    load="acme_microbatch.backend:NpuBackend",
                    probe=probe,
                    priority=30,
                    modules=("acme_npu",),
                    install="pip install acme-npu",
                )
            ]
    """


@hookspec
def microbatch_register_policies() -> Sequence[PolicyInfo]:  # type: ignore[empty-body]
    """Announce sizing policies. Called once, when policies are first listed or looked up.

    A complete plugin::

        from microbatch import PolicyInfo, Proposal, hookimpl

        class Sixteen:
            def propose(self, request):
                return Proposal(limit=16, reason="always 16")

            def observe(self, report):
                pass

        @hookimpl
        def microbatch_register_policies():
            return [PolicyInfo(name="sixteen", load=f"{__name__}:Sixteen", summary="parts of 16")]
    """


@hookspec
def microbatch_register_containers() -> Sequence[ContainerInfo]:  # type: ignore[empty-body]
    """Announce container types whose leaves are cut and put together. Called once, at the first wrap.

    A complete plugin::

        import sys
        from microbatch import ContainerInfo, hookimpl

        def flatten(pair):
            return (pair.left, pair.right), None, ("left", "right")

        def unflatten(auxiliary, children):
            return sys.modules["acme_pairs"].Pair(*children)

        @hookimpl
        def microbatch_register_containers():
            return [ContainerInfo(type="acme_pairs:Pair", flatten=flatten, unflatten=unflatten)]
    """


@hookspec
def microbatch_register_rows() -> Sequence[RowsInfo]:  # type: ignore[empty-body]
    """Announce types that have rows and are no arrays. Called once, at the first wrap.

    A complete plugin::

        import sys
        from microbatch import RowsInfo, hookimpl

        class LineRows:
            def unsupported(self, rows):
                return None

            def length(self, rows):
                return len(rows.lines)

            def take(self, rows, where):
                kept = rows.lines[where] if isinstance(where, slice) else [rows.lines[i] for i in where]
                return sys.modules["acme_lines"].Lines(kept)

            def join(self, parts, order=None):
                lines = [line for part in parts for line in part.lines]
                kept = lines if order is None else [lines[i] for i in order]
                return sys.modules["acme_lines"].Lines(kept)

            def read(self, rows):
                return {"line": rows.lines}

            def alike(self, rows):
                return ()

            def nbytes(self, rows):
                return 0

        @hookimpl
        def microbatch_register_rows():
            return [RowsInfo(type="acme_lines:Lines", load=f"{__name__}:LineRows")]
    """


@hookspec
def microbatch_step_finished(report: StepReport) -> None:
    """Observe a finished step: numbers only, once per step, after all of its threads have left it.

    What it raises becomes a warning, once; the step is not affected. A complete plugin::

        import sys
        from microbatch import hookimpl

        @hookimpl
        def microbatch_step_finished(report):
            print(f"step {report.step}: {report.sizes} in {report.seconds:.3f} s", file=sys.stderr)
    """
