"""What every backend must do: subclass `BackendSuite`, give `make_backend`, get the conformance tests.

    class TestMine(BackendSuite):
        def make_backend(self):
            return MyBackend()

        def make_array(self, backend, values):
            return backend.upload(values)

        def to_numpy(self, array):
            return array.download()

Invariant: a backend that passes can be used by every schedule. Optional abilities that are missing are
skipped with a sentence; what is known to fail goes into `expected_failures` with its reason.
"""

from __future__ import annotations

from microbatch.testing.suites.abilities import AbilityChecks
from microbatch.testing.suites.arrays import ArrayChecks
from microbatch.testing.suites.graphs import GraphChecks
from microbatch.testing.suites.steps import StepChecks
from microbatch.testing.suites.streams import StreamChecks
from microbatch.testing.suites.surroundings import SurroundingChecks


class BackendSuite(ArrayChecks, StreamChecks, AbilityChecks, GraphChecks, SurroundingChecks, StepChecks):
    """Conformance of one backend; see `microbatch.testing.suites.base` for the hooks."""
