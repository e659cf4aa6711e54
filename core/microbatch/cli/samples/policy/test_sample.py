"""The policy keeps the promises that every policy makes."""

from __future__ import annotations

from typing import ClassVar

from microbatch_sample import Sample

from microbatch.testing import PolicySuite


class TestSample(PolicySuite):
    # what your policy does not promise, and why; the suite then skips these checks
    not_promised: ClassVar = dict.fromkeys(
        ("never_runs_out_of_memory", "shrinks_below_a_failure"), "looks at no memory"
    )

    def make(self) -> Sample:
        return Sample()
