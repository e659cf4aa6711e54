"""The backend does what every schedule needs."""

from __future__ import annotations

from microbatch_sample_device import SampleBackend

from microbatch.testing import BackendSuite


class TestSample(BackendSuite):
    def make_backend(self) -> SampleBackend:
        return SampleBackend()

    # arrays of the suite are NumPy's; give `make_array`, `to_numpy` and `add_one` for those of your library
