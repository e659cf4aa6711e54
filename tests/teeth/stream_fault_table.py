"""What a device step can lack: waits, records, synchronizations, lifetimes, and the right stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One place of the source, and the steps that go through it."""

    what: str
    """What is missing."""
    path: str
    """The file, below the root of the repository."""
    text: str
    """The source, which the file holds exactly once."""
    instead: str
    """What stands there when it is gone."""
    steps: tuple[str, ...]
    """Names of `tests.support.stream_steps.STEPS`, or of `cupy_steps`; never of both."""

    @property
    def module(self) -> str:
        """The file below its source root."""
        return str(PurePosixPath(*PurePosixPath(self.path).parts[1:]))


BACKENDS = "backends/microbatch_backends"
CORE = "core/microbatch"
TURNS = ("threads", "greenlets")
STREAMED = ("streamed", "from host", "from pinned")
HOST = ("from host", "from pinned")
GRAPHS = ("graph", "graph of a step")
ORDERED = ("threads", "greenlets", "streamed", "from host", "from pinned")


def _backends(what: str, file: str, text: str, instead: str, steps: tuple[str, ...]) -> Fault:
    return Fault(what=what, path=f"{BACKENDS}/{file}", text=text, instead=instead, steps=steps)


def _core(what: str, file: str, text: str, instead: str, steps: tuple[str, ...]) -> Fault:
    return Fault(what=what, path=f"{CORE}/{file}", text=text, instead=instead, steps=steps)


IN_BACKENDS = (
    _backends("an event is not recorded", "device/streams.py",
              "        self.raw.record(_raw(stream, DeviceStream, self.driver))\n", "", ORDERED),
    _backends("an event is recorded, and counts as not recorded", "device/streams.py",
              "        self.recorded = True\n", "", ORDERED),
    _backends("an event is recorded on the stream that is current", "device/streams.py",
              "self.raw.record(_raw(stream, DeviceStream, self.driver))",
              "self.raw.record(self.driver.current_stream())", ORDERED),
    _backends("a stream does not wait for an event", "device/streams.py",
              "            self.raw.wait_event(raw)\n", "            pass\n", ORDERED),
    _backends("the current stream waits instead of the one that should", "device/streams.py",
              "            self.raw.wait_event(raw)\n",
              "            self.driver.current_stream().wait_event(raw)\n", ORDERED),
    _backends("the host does not wait for an event", "device/streams.py",
              "        if timeout is not None and not _poll(self.done, timeout):\n            return False\n",
              "        return True\n", HOST),
    _backends("work is submitted to the current stream", "device/streams.py",
              "        with self.activate():\n            work()\n", "        work()\n", STREAMED),
    _backends("a stream does not become current", "device/streams.py",
              "return self.driver.activate(self.raw, self.index)",
              "return self.driver.activate(self.driver.current_stream(), self.index)", ORDERED),
    _backends("the device module leaves the stream as it is", "torch_device/device_module.py",
              "self._module.stream(stream)", "self._module.stream(None)", ORDERED),
    _backends("all ubatches share one pair of streams", "device/backend.py",
              "        return self._lanes.lend(count, self._driver.index())\n",
              "        pair = self.stream(\"compute\"), self.stream(\"communication\")\n"
              "        return nullcontext([pair] * count)\n", TURNS),
    _backends("a worker does not launch on the caller's stream", "torch_device/state.py",
              "[] if self._module is None else [self._module.activate(*self._place)]", "[]",
              ("parallel", "threads")),
    _backends("a capture does not begin after the caller's work", "torch_device/graphs.py",
              "        lanes.first.wait_stream(caller)\n", "", GRAPHS),
    _backends("the caller does not wait for the first run of a capture", "torch_device/graphs.py",
              "            caller.wait_stream(lanes.first)\n", "", GRAPHS),
    _backends("a capture takes eager work: it runs on the caller's stream", "torch_device/graphs.py",
              "with module.activate(lanes.first, index):", "with module.activate(caller, index):",
              ("graph beside others",)),
    _backends("a graph is never captured", "torch_device/graphs.py",
              "                result = work()\n        held", "                result = None\n        held",
              GRAPHS),
    _backends("a replay does nothing", "torch_device/graphs.py",
              "        self._graph.replay()\n", "        pass\n", GRAPHS),
)  # fmt: skip
"""Of the backend for torch on a device."""

IN_CORE = (
    _core("a streamed step does not mark the caller's work", "schedules/streamed.py",
          "        entry.record(self._step.backend.current_stream())\n", "", STREAMED),
    _core("a streamed step does not wait for the caller", "schedules/streamed.py",
          "        self._copy_in.wait(entry)\n", "", ("streamed",)),
    _core("copying in is not marked", "schedules/streamed.py",
          "        slot.fetched.record(self._copy_in)\n", "", HOST),
    _core("computing does not wait for copying in", "schedules/streamed.py",
          "        self._compute.wait(slot.fetched)\n", "", HOST),
    _core("computing is not marked", "schedules/streamed.py",
          "        slot.computed.record(self._compute)\n", "", STREAMED),
    _core("copying out does not wait for computing", "schedules/streamed.py",
          "        self._copy_out.wait(slot.computed)\n", "", STREAMED),
    _core("copying out is not marked", "schedules/streamed.py",
          "        slot.sent.record(self._copy_out)\n", "", STREAMED),
    _core("a slot is used again before it is done", "schedules/streamed.py",
          "            return event.synchronize(limit)\n", "            return True\n", STREAMED),
    _core("a ubatch's work is not marked", "turns/streams.py",
          "        event.record(self._streams[self.lane])\n", "", TURNS),
    _core("a ubatch's stream does not wait for its other one", "turns/streams.py",
          "            self._streams[self.lane].wait(event)\n", "            pass\n", TURNS),
    _core("a step does not mark the caller's work", "turns/step_lanes.py",
          "        entry.record(self._caller)\n", "", TURNS),
    _core("a ubatch does not wait for the one before on its lane", "turns/step_lanes.py",
          "        stream.wait(mark)\n", "", TURNS),
    _core("the last work on a lane is not marked", "turns/step_lanes.py",
          "            mark.record(last)\n", "", TURNS),
    _core("the end of a step is not marked", "turns/step_lanes.py",
          "            end.record(stream)\n", "", TURNS),
    _core("the caller does not wait for a step", "turns/step_lanes.py",
          "            self._caller.wait(end)\n", "", TURNS),
    _core("a lent stream does not wait for its pair", "turns/step_lanes.py",
          "                    stream.wait(other)\n", "                    pass\n", TURNS),
    _core("a switch without a hand-over does not wait", "turns/seat.py",
          "        self.streams.switch(lane)\n        self.streams.wait(event)\n\n    def hand_over_to",
          "        self.streams.switch(lane)\n\n    def hand_over_to", TURNS),
    _core("a hand-over does not wait", "turns/seat.py",
          "        self.streams.switch(lane)\n        self.streams.wait(event)\n\n    def register_hook",
          "        self.streams.switch(lane)\n\n    def register_hook", TURNS),
    _core("a result comes from the stream of a ubatch", "gathering/result_memory.py",
          "        if here == callers:\n", "        if True:\n", TURNS),
    _core("who writes a result does not wait until it may", "gathering/result_memory.py",
          "        here.wait(ready)\n", "", TURNS),
    _core("that a result is there is not marked", "gathering/result_memory.py",
          "            ready.record(callers)\n", "", TURNS),
    _core("what was brought in is dropped once computing was launched", "schedules/streamed.py",
          "        inputs = () if slot.moved else slot.inputs\n",
          "        inputs = () if slot.moved else slot.inputs\n"
          "        slot.inputs = None if slot.moved else slot.inputs\n", HOST),
    _core("outputs are dropped once copying them out was launched", "schedules/streamed.py",
          "            slot.host = self._take_back(slot.outputs)\n",
          "            slot.host = self._take_back(slot.outputs)\n"
          "            slot.outputs = slot.returned = self._last = None\n", HOST),
    _core("the result of a replay is the graph's own memory", "graphs/padding.py",
          "        copied = backend.empty(tuple(source.shape), source)\n",
          "        made.append(source)\n        continue\n", GRAPHS),
    _core("a replay does not wait for the one before, on another stream", "graphs/runner.py",
          "        self._wait(backend)\n        fill(", "        fill(", GRAPHS),
    _core("the end of a replay is not marked", "graphs/runner.py",
          "        self._last.record(backend.current_stream())\n", "", GRAPHS),
)  # fmt: skip
"""Of the schedules."""

CUPY_TURNS = ("cupy: threads", "cupy: greenlets")
CUPY_STREAMED = ("cupy: streamed", "cupy: from host")
CUPY_GRAPHS = ("cupy: graph", "cupy: graph of a step")
CUPY_TRANSFERS = ("cupy: transfers",)
CUPY_OF = {
    ORDERED: (*CUPY_TURNS, *CUPY_STREAMED), TURNS: CUPY_TURNS, STREAMED: CUPY_STREAMED,
    HOST: ("cupy: from host",),
}  # fmt: skip
"""Steps of torch -> the same of CuPy."""

IN_SHARED = tuple(
    replace(fault, what=f"{fault.what} (CuPy)", steps=CUPY_OF[fault.steps])
    for fault in IN_BACKENDS
    if fault.path.startswith(f"{BACKENDS}/device/")
)
"""Of what both backends are made of, once more with CuPy."""

_IN_CUPY = (
    _backends("a stream does not become current", "cupy_device/namespace.py",
              "        stream.use()\n        try:\n", "        try:\n", CUPY_OF[ORDERED]),
    _backends("a stream stays current", "cupy_device/namespace.py",
              "            before.use()\n", "", CUPY_OF[ORDERED]),
    _backends("a worker does not launch on the caller's stream", "cupy_device/backend.py",
              "self._namespace.activate(self._stream, self._index), pool:",
              "nullcontext(), pool:", ("cupy: parallel", "cupy: threads")),
    _backends("a worker takes memory from another pool", "cupy_device/backend.py",
              "pool = nullcontext() if same else self._namespace.cuda.using_allocator(self._allocator)",
              "pool = nullcontext()", ("cupy: own pool",)),
    _backends("an upload goes to the default stream", "cupy_device/transfer.py",
              "        there.set(whole, stream=stream)\n",
              "        there.set(whole, stream=self._namespace.cuda.Stream.null)\n",
              (*CUPY_TRANSFERS, "cupy: from host")),
    _backends("the host does not wait for a copy from memory that is not pinned", "cupy_device/transfer.py",
              "            stream.synchronize()\n", "            pass\n", CUPY_TRANSFERS),
    _backends("the host does not wait for a copy to what is not contiguous", "cupy_device/transfer.py",
              "blocking=True", "blocking=False", CUPY_TRANSFERS),
    _backends("a copy to what is not contiguous comes from the default stream", "cupy_device/transfer.py",
              "source.get(stream=stream, blocking=True)",
              "source.get(stream=self._namespace.cuda.Stream.null, blocking=True)", CUPY_TRANSFERS),
    _backends("the host does not wait for a copy to memory that is not pinned", "cupy_device/transfer.py",
              "blocking=not is_pinned(self._namespace, destination)", "blocking=False", CUPY_TRANSFERS),
    _backends("a copy to the host comes from the default stream", "cupy_device/transfer.py",
              "whole.get(stream=stream, out=destination",
              "whole.get(stream=self._namespace.cuda.Stream.null, out=destination",
              (*CUPY_TRANSFERS, "cupy: from host")),
    _backends("the caller's work is not marked for a capture", "cupy_device/graphs.py",
              "        before.record(namespace.current_stream())\n", "", CUPY_GRAPHS),
    _backends("a capture does not begin after the caller's work", "cupy_device/graphs.py",
              "        lanes.first.wait_event(before)\n", "", CUPY_GRAPHS),
    _backends("a capture takes eager work: it runs on the caller's stream", "cupy_device/graphs.py",
              "with namespace.activate(lanes.first, index),",
              "with namespace.activate(namespace.current_stream(), index),", CUPY_GRAPHS),
    _backends("a graph has no memory of its own", "cupy_device/graphs.py",
              "namespace.cuda.using_allocator(pool.malloc):",
              "namespace.cuda.using_allocator(namespace.cuda.get_allocator()):", CUPY_GRAPHS),
    _backends("nothing runs before a capture, which then has no memory", "cupy_device/graphs.py",
              "            work()\n            lanes", "            lanes", CUPY_GRAPHS),
    _backends("a capture does not wait for the run before it", "cupy_device/graphs.py",
              "            lanes.first.synchronize()\n", "", CUPY_GRAPHS),
    _backends("a graph does not keep its pool", "cupy_device/graphs.py",
              "CupyGraph(namespace, graph, lanes, pool), result",
              "CupyGraph(namespace, graph, lanes, namespace.cuda.MemoryPool()), result", CUPY_GRAPHS),
    _backends("a graph is never captured", "cupy_device/graphs.py",
              "        result = work()\n    except", "        result = None\n    except", CUPY_GRAPHS),
    _backends("a replay does nothing", "cupy_device/graphs.py",
              "self._graph.launch(self._namespace.current_stream())", "pass", CUPY_GRAPHS),
    _backends("a replay runs on the stream of the capture", "cupy_device/graphs.py",
              "self._graph.launch(self._namespace.current_stream())",
              "self._graph.launch(self._lanes.first)", CUPY_GRAPHS),
)  # fmt: skip
IN_CUPY = tuple(replace(fault, what=f"{fault.what} (CuPy)") for fault in _IN_CUPY)
"""Of the backend for CuPy."""

FAULTS = (*IN_BACKENDS, *IN_CORE, *IN_SHARED, *IN_CUPY)
