"""Graphs: what is captured is replayed, on the streams of the capture and no other."""

from __future__ import annotations

from contextvars import copy_context

from microbatch.extend.abilities import SupportsGraphs, SupportsThreadedCapture
from microbatch.extend.protocols import Backend
from microbatch.testing.suites.base import BackendChecks, in_threads


class GraphChecks(BackendChecks):
    """Skipped, with a sentence, where the backend cannot capture."""

    def check_a_graph_holds_several_streams(self) -> None:
        """Work of a stream that is forked from the captured one and joined again is replayed in its place."""
        backend = self.make_backend()
        graphs: SupportsGraphs = self.require(backend, SupportsGraphs)
        values = self.numbers(3)
        source, target = self.make_array(backend, values), self.make_array(backend, values * 0)
        graph, _ = graphs.capture(
            lambda: self._on_two_streams(backend, source, target), pool=graphs.graph_pool()
        )
        for more in (1, 2):
            self.add_one(source)
            graph.replay()
            self.assert_values(backend, target, values + more + 2)

    def check_streams_of_a_capture_are_its_own(self) -> None:
        """Else eager work of other threads would get into the graph; threads of the capture find them too."""
        backend = self.make_backend()
        graphs: SupportsGraphs = self.require(backend, SupportsGraphs)
        eager, seen = backend.stream("compute"), list[object]()
        launched_on = self.make_array(backend, self.numbers(3))

        def work() -> None:
            self.add_one(launched_on)  # a capture of nothing may be refused
            context, own = copy_context(), backend.stream("compute")
            carried = in_threads(lambda: context.run(backend.stream, "compute"))
            seen.extend((own, *carried, *in_threads(lambda: backend.stream("compute"))))

        graphs.capture(work)
        for own, carried, foreign in (seen[:3], seen[3:]):
            assert own != eager
            assert foreign == eager
            assert carried == own or not _of_threads(backend)
        assert backend.stream("compute") == eager

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
            self.assert_values(backend, output, values + more + 1)
        assert graph.bytes_held() >= 0

    def check_an_error_of_the_function_is_not_a_refused_capture(self) -> None:
        """Else a wrong function would silently run uncaptured."""
        backend = self.make_backend()
        assert not self.require(backend, SupportsGraphs).capture_refused(KeyError("row"))

    def _on_two_streams(self, backend: Backend, source: object, target: object) -> None:
        first, second, event = backend.current_stream(), backend.stream("communication"), backend.event()
        backend.copy(target, source)
        event.record(first)
        second.wait(event)
        with second.activate():
            self.add_one(target)
        back = backend.event()
        back.record(second)
        first.wait(back)
        self.add_one(target)


def _of_threads(backend: Backend) -> bool:
    return isinstance(backend, SupportsThreadedCapture) and backend.captures_threads
