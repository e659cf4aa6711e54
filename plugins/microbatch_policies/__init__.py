"""The sizing policies that come with microbatch, announced by hook.

Invariant: importing this loads no policy. Policies see numbers only, keep no clock and draw no random number:
the same requests and reports in the same order give the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from microbatch.extend.hookspecs import hookimpl
from microbatch.extend.records import PolicyInfo

_POLICIES = (
    ("auto", "auto:Auto", "memory model, then the fastest size that fits, pressure and graph sizes on top"),
    ("fixed", "counts:Fixed", "always num_ubatches parts"),
    ("threshold", "counts:Threshold", "num_ubatches parts from 32 decode or 512 prefill tokens on"),
    ("tokens", "counts:Tokens", "at most max_tokens_per_ubatch units in a part"),
    (
        "memory-model",
        "memory.memory_model:MemoryModel",
        "the largest size whose predicted peak fits, learned",
    ),
    ("throughput", "speed.throughput:Throughput", "the smallest size within 5 % of the fastest, learned"),
    ("pressure", "pressure:Pressure", "shrinks from 85 % memory pressure on, grows back below 65 %"),
    ("latency", "latency:Latency", "the largest size whose ubatches take at most 0.1 s"),
    ("buckets", "buckets:Buckets", "rounded down to captured graph sizes, or to a ladder"),
)


@hookimpl
def microbatch_register_policies() -> Sequence[PolicyInfo]:
    """The built-in policies."""
    load = "microbatch_policies."
    return [PolicyInfo(name=name, load=load + place, summary=summary) for name, place, summary in _POLICIES]
