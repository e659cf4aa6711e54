"""The guards against the numbered pitfalls: where each one stands, and the test that must fail without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["GUARDS", "Guard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One place of the source, and who misses it."""

    pitfall: int
    """Number of the pitfall in tests/pitfalls.py."""
    what: str
    """What the guard does."""
    path: str
    """The file, below the root of the repository."""
    text: str
    """The guard's source, which the file holds exactly once."""
    instead: str
    """What stands there when it is gone."""
    test: str
    """The test that must fail then: file::name, as pytest takes it."""

    @property
    def module(self) -> str:
        """The file below its source root."""
        return str(PurePosixPath(*PurePosixPath(self.path).parts[1:]))


HANDOFF = "core/microbatch/turns/handoff.py"
PINGPONG = "core/microbatch/schedules/pingpong.py"
STREAMED = "core/microbatch/schedules/streamed.py"
SAFETY = "core/microbatch/proof/module_modes.py"
SEAT = "core/microbatch/turns/seat.py"
STREAMS = "core/microbatch/turns/step_lanes.py"
HOME = "core/microbatch/gathering/result_memory.py"
RUNNER = "core/microbatch/graphs/runner.py"
PADDING = "core/microbatch/graphs/padding.py"
INPUTS = "core/microbatch/binding/infer.py"
PLANNING = "core/microbatch/sizing/planning.py"
WANTED = "core/microbatch/sizing/wanted.py"
CAPTURES = "backends/microbatch_backends/torch_device/graphs.py"
REFUSALS = "backends/microbatch_backends/device/capture.py"
SEARCH = "plugins/microbatch_policies/speed/size_search.py"

FAULTS = "tests/core/schedules/test_pingpong_faults.py"
ON_DEVICES = "tests/core/schedules/test_on_devices.py"
PITFALLS = "tests/core/schedules/test_device_pitfalls.py"
MODULES = "tests/core/schedules/test_modules_torch.py"
SAFE = "tests/core/proof/test_module_modes.py"
GRAPHS = "tests/core/graphs/test_graphs.py"
GRAPH_STEPS = "tests/core/graphs/test_in_steps.py"
LAYOUT = "tests/core/binding/test_layout.py"
CUDA = "tests/backends/torch_device/test_cuda.py"

GUARDS: tuple[Guard, ...] = (
    Guard(
        pitfall=5,
        what="who has finished leaves the ring",
        path=HANDOFF,
        text=(
            "        following = self._unlink(index)\n"
            "        if following != index:\n"
            "            self.holder = following\n"
            "            self._gates"
        ),
        instead=(
            "        following = self.after[index]\n"
            "        if following != index:\n"
            "            self.holder = following\n"
            "            self._gates"
        ),
        test=f"{FAULTS}::test_without_a_fault_under_every_schedule_with_two_preemptions",
    ),
    Guard(
        pitfall=5,
        what="who has finished passes the turn on",
        path=PINGPONG,
        text="    finally:\n        ring.leave(index)\n",
        instead="",
        test=f"{FAULTS}::test_without_a_fault_under_every_schedule_with_two_preemptions",
    ),
    Guard(
        pitfall=6,
        what="siblings of a failed ubatch unwind at their next turn",
        path=HANDOFF,
        text="        if self.holder == index:\n            self.failed = True\n        else:",
        instead="        if self.holder != index:",
        test=f"{FAULTS}::test_two_ubatches_under_every_schedule_with_two_preemptions",
    ),
    Guard(
        pitfall=6,
        what="an error of a ubatch is kept for the caller",
        path=PINGPONG,
        text="        failures.record(context, error)\n        ring.fail(index)\n",
        instead="        ring.fail(index)\n",
        test=f"{FAULTS}::test_every_kind_of_error_on_real_threads",
    ),
    Guard(
        pitfall=7,
        what="who fails without the turn wakes the start line",
        path=HANDOFF,
        text="        else:\n            self.scatter()\n\n    def leave",
        instead="\n    def leave",
        test=f"{FAULTS}::test_an_error_before_a_ubatch_has_begun_leaves_nobody_at_the_start_line",
    ),
    Guard(
        pitfall=8,
        what="the event is recorded before the turn is passed",
        path=SEAT,
        text=(
            "        event = self.streams.record()\n"
            "        self.ubatch.gpu_wait_event = event\n"
            "        self.ring.hand_over(self.index, label)\n"
        ),
        instead=(
            "        self.ring.hand_over(self.index, label)\n"
            "        event = self.streams.record()\n"
            "        self.ubatch.gpu_wait_event = event\n"
        ),
        test=f"{ON_DEVICES}::test_pitfall_8_an_event_recorded_after_the_hand_over_would_order_too_much",
    ),
    Guard(
        pitfall=9,
        what="streamed: copying in waits for the caller's stream",
        path=STREAMED,
        text="        self._copy_in.wait(entry)\n",
        instead="",
        test=f"{PITFALLS}::test_the_step_begins_after_the_stream_that_makes_its_inputs",
    ),
    Guard(
        pitfall=9,
        what="pingpong: our streams wait for the caller's",
        path=STREAMS,
        text="        entry.record(self._caller)\n",
        instead="",
        test=f"{PITFALLS}::test_the_step_begins_after_the_stream_that_makes_its_inputs",
    ),
    Guard(
        pitfall=9,
        what="pingpong: the caller's stream waits for ours",
        path=STREAMS,
        text="            self._caller.wait(end)\n",
        instead="",
        test=f"{PITFALLS}::test_the_caller_goes_on_after_the_step",
    ),
    Guard(
        pitfall=9,
        what="streamed: the step waits for its last stage",
        path=STREAMED,
        text="        self._wait_for(self, slot.sent, context)\n",
        instead="",
        test=f"{PITFALLS}::test_the_caller_goes_on_after_the_step",
    ),
    Guard(
        pitfall=10,
        what="pingpong: the caller frees after our streams have read",
        path=STREAMS,
        text="            self._caller.wait(end)\n",
        instead="",
        test=f"{PITFALLS}::test_memory_of_an_input_dropped_after_the_call_is_not_used_again_too_early",
    ),
    Guard(
        pitfall=10,
        what="pingpong: each ubatch has streams, and so memory, of its own",
        path=STREAMS,
        text="    backend, lender = device.backend, device.lanes\n",
        instead="    backend, lender = device.backend, None\n",
        test=f"{ON_DEVICES}::test_nothing_is_unordered_where_a_ubatch_drops_what_another_lane_reads",
    ),
    Guard(
        pitfall=10,
        what="a result comes from the stream of the caller who will free it",
        path=HOME,
        text="        if here == callers:\n",
        instead="        if True:\n",
        test=f"{ON_DEVICES}::test_nothing_is_unordered_between_callers_on_streams_of_their_own",
    ),
    Guard(
        pitfall=10,
        what="a slot holds its inputs until its last stage is done",
        path=STREAMED,
        text="        slot.outputs = self._step.compute(context, slot.inputs)\n",
        instead=(
            "        slot.outputs = self._step.compute(context, slot.inputs)\n        slot.inputs = None\n"
        ),
        test=f"{PITFALLS}::test_memory_of_a_part_is_not_used_again_while_it_is_computed_with",
    ),
    Guard(
        pitfall=11,
        what="results on the host are read after their copy is done",
        path=STREAMED,
        text="        self._wait_for(self, slot.sent, context)\n",
        instead="",
        test=f"{PITFALLS}::test_a_result_on_the_host_is_read_after_its_copy_only",
    ),
    Guard(
        pitfall=12,
        what="each slot has staging buffers of its own",
        path=STREAMED,
        text=("slot.inputs, slot.moved = self._bring(slot.loaded, slot.buffers)\n            except"),
        instead=(
            "slot.inputs, slot.moved = self._bring(slot.loaded, self._ring[0].buffers)\n            except"
        ),
        test=f"{PITFALLS}::test_a_staging_buffer_is_filled_again_after_its_copy_only",
    ),
    Guard(
        pitfall=15,
        what="what cannot be captured runs as it is",
        path=RUNNER,
        text="            if kind is FailureKind.DEAD:\n                raise\n",
        instead="            raise\n",
        test=f"{GRAPH_STEPS}::test_a_stream_that_was_not_joined_is_refused_and_the_step_runs_without_a_graph",
    ),
    Guard(
        pitfall=15,
        what="a capture is ended where its work raises",
        path=CAPTURES,
        text=(
            "        with suppress(RuntimeError), _repaired(module, pool):\n"
            "            graph.capture_end()\n"
            "        raise\n"
        ),
        instead="        raise\n",
        test=f"{CUDA}::test_the_error_of_the_work_survives_the_end_of_the_capture",
    ),
    Guard(
        pitfall=15,
        what="unjoined work is known as a refusal",
        path=REFUSALS,
        text='    "capturing stream has unjoined work",\n',
        instead="",
        test=f"{CUDA}::test_what_cannot_be_captured_is_told_from_what_is_wrong",
    ),
    Guard(
        pitfall=17,
        what="a replay waits for the one before it",
        path=RUNNER,
        text="            backend.current_stream().wait(self._last)\n",
        instead="            pass\n",
        test=f"{GRAPH_STEPS}::test_replays_on_several_streams_wait_for_each_other",
    ),
    Guard(
        pitfall=18,
        what="results are copied out of the graph",
        path=PADDING,
        text="        made.append(copied)\n",
        instead="        made.append(source)\n",
        test=f"{GRAPHS}::test_a_result_is_not_overwritten_by_the_next_replay",
    ),
    Guard(
        pitfall=18,
        what="a graph has inputs of its own",
        path=RUNNER,
        text="        static = resized(asked.leaves, asked.key.rows, backend)\n",
        instead="        static = list(asked.leaves)\n",
        test=f"{GRAPH_STEPS}::test_a_graph_keeps_its_inputs_to_itself",
    ),
    Guard(
        pitfall=19,
        what="a padded replay is compared with the plain call",
        path=RUNNER,
        text="            if not differences:\n",
        instead="            if True:\n",
        test=f"{GRAPHS}::test_a_function_that_mixes_rows_is_never_padded",
    ),
    Guard(
        pitfall=19,
        what="padding is cut off the outputs",
        path=PADDING,
        text="        source = leaf[:rows] if trim else leaf\n",
        instead="        source = leaf\n",
        test=f"{GRAPHS}::test_buckets_are_captured_at_once_the_largest_first_and_then_always_hit",
    ),
    Guard(
        pitfall=19,
        what="a module whose statistics change in training is not cut",
        path=SAFETY,
        text=(
            '            return "a module in training mode changes its buffers, '
            'so rows depend on each other"\n'
        ),
        instead='            return ""\n',
        test=f"{MODULES}::test_batch_norm_in_training_gives_the_plain_calls_numbers_and_statistics",
    ),
    Guard(
        pitfall=20,
        what="a module that draws in training does not run in parallel",
        path=SAFETY,
        text='            return "a module is in training mode"\n',
        instead='            return ""\n',
        test=f"{MODULES}::test_dropout_with_one_seed_gives_one_result",
    ),
    Guard(
        pitfall=20,
        what="random numbers are not frozen into a graph",
        path=RUNNER,
        text=(
            '            self.cache.refuse(asked.key, f"a replay differs from the plain call: {different}")\n'
        ),
        instead="            graph.rows[asked.rows] = (False,) * len(graph.outputs)\n",
        test=f"{GRAPHS}::test_random_numbers_are_not_frozen",
    ),
    Guard(
        pitfall=21,
        what="a leaf declared replicate() is given whole",
        path=INPUTS,
        text='    if rule.kind == "replicate" or leaf is None:\n',
        instead="    if leaf is None:\n",
        test=f"{LAYOUT}::test_a_leaf_with_as_many_rows_by_accident_is_whole_where_declared",
    ),
    Guard(
        pitfall=21,
        what="an array that no rule covers is an error",
        path=INPUTS,
        text="        elif counts.ambiguous(leaf.size) or (strict and leaf.is_array):\n",
        instead="        elif counts.ambiguous(leaf.size):\n",
        test=f"{LAYOUT}::test_a_broadcast_leaf_that_no_rule_covers_is_an_error_and_not_cut",
    ),
    Guard(
        pitfall=22,
        what="no more parts than rows",
        path=WANTED,
        text="        count=min(asked, most, most if together is None else together.parts),\n",
        instead="        count=asked,\n",
        test="tests/core/test_wrapper.py::test_batches_as_small_as_their_number_of_parts",
    ),
    Guard(
        pitfall=22,
        what="an empty batch is one call",
        path=PLANNING,
        text="        if request.num_requests < 2 and batch.shape.num_tokens < 2:\n",
        instead="        if False:\n",
        test="tests/core/sizing/test_counts.py::test_where_there_is_nothing_to_cut_no_policy_is_asked",
    ),
    Guard(
        pitfall=23,
        what="a module whose buffers change does not run in parallel",
        path=SAFETY,
        text='            return "a module changes its buffers from step to step"\n',
        instead='            return ""\n',
        test=f"{MODULES}::test_a_module_that_writes_its_buffers_is_never_run_side_by_side",
    ),
    Guard(
        pitfall=23,
        what="the first step of a module with buffers runs in turn",
        path=SAFETY,
        text='            return "this is the first step of a module with buffers, which it may change"\n',
        instead='            return ""\n',
        test=f"{MODULES}::test_a_module_that_writes_its_buffers_is_never_run_side_by_side",
    ),
    Guard(
        pitfall=23,
        what="one ubatch has the turn",
        path=HANDOFF,
        text=(
            "        while not self.scattered and "
            "(self.holder != index or not (self._started or self.failed)):\n"
        ),
        instead="        while not self.scattered and not (self._started or self.failed):\n",
        test=f"{FAULTS}::test_without_a_fault_under_every_schedule_with_two_preemptions",
    ),
    Guard(
        pitfall=30,
        what="cutting must gain more than 8 % over the whole batch",
        path=SEARCH,
        text=(
            "        if allowed.whole and WHOLE in self.arms and "
            "self.value(WHOLE) <= best * tuned.CUT_GAIN:\n"
            "            return WHOLE\n"
        ),
        instead="",
        test="tests/plugins/test_auto.py::test_a_settled_step_is_never_slower_than_the_plain_call",
    ),
    Guard(
        pitfall=30,
        what="the whole batch is tried where it may win",
        path=SEARCH,
        text=(
            "        return not parts or self.value(max(parts)) <= tuned.HOPE * min(map(self.value, parts))\n"
        ),
        instead="        return False\n",
        test="tests/plugins/test_auto.py::test_work_whose_parts_cost_more_than_they_gain_ends_uncut",
    ),
)
"""By number of the pitfall."""
