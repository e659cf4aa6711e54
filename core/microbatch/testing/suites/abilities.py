"""Optional abilities: transfer and graphs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from microbatch.extend.protocols import SupportsGraphs, SupportsTransfer
from microbatch.testing.properties import prop
from microbatch.testing.suites.base import BackendChecks

__all__ = ["AbilityChecks"]


class AbilityChecks(BackendChecks):
    """Skipped, with a sentence, where the backend does not have them."""

    def host_array(self, values: np.ndarray, like: object) -> object:
        """A host array of the framework that `staging` accepts as `like`; NumPy by default."""
        return values

    @prop(rows=st.integers(0, 5))
    def check_transfer_goes_there_and_back(self, rows: int) -> None:
        """Host to device to host through staging, ordered by events, changes no value."""
        backend = self.make_backend()
        transfer: SupportsTransfer = self.require(backend, SupportsTransfer)
        values = self.numbers(rows)
        host = self.host_array(values, None)
        copy_in, copy_out = backend.stream("copy_in"), backend.stream("copy_out")
        going, coming = transfer.staging(values.shape, host), transfer.staging(values.shape, host)
        backend.copy(going, host)
        with copy_in.activate():
            there = transfer.empty_device(values.shape, host)
        assert backend.owns(there)
        copy_in.submit(lambda: transfer.to_device(there, going))
        event = backend.event()
        event.record(copy_in)
        copy_out.wait(event)
        copy_out.submit(lambda: transfer.to_host(coming, there))
        event.record(copy_out)
        assert event.synchronize()
        np.testing.assert_array_equal(np.asarray(coming), values)

    def check_a_graph_replays_with_new_values(self) -> None:
        """A replay computes from what its inputs hold then; what it writes stays where it was captured."""
        backend = self.make_backend()
        graphs: SupportsGraphs = self.require(backend, SupportsGraphs)
        values = self.numbers(3)
        source, target = self.make_array(backend, values), self.make_array(backend, values * 0)

        def work() -> object:
            backend.copy(target, source)
            self.add_one(target)
            return target

        work()
        backend.current_stream().synchronize()
        graph, output = graphs.capture(work, pool=graphs.graph_pool())
        for more in (1, 2):
            self.add_one(source)
            graph.replay()
            backend.current_stream().synchronize()
            np.testing.assert_array_equal(self.to_numpy(output), values + more + 1)
        assert graph.bytes_held() >= 0

    def check_an_error_of_the_function_is_not_a_refused_capture(self) -> None:
        """Else a wrong function would silently run uncaptured."""
        backend = self.make_backend()
        assert not self.require(backend, SupportsGraphs).capture_refused(KeyError("row"))
