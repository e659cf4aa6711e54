"""A sizing policy that measures doubling sizes, one a step, and stays at the knee of their throughput.

Invariant: answers depend on what was observed and nothing else; there is no clock and no random number. A
step that failed or ran out of memory teaches no throughput. Memory is not looked at: put `memory-model`
before it in a chain. Source: Satopaa, Albrecht, Irwin, Raghavan, "Finding a Kneedle in a Haystack", ICDCSW
2011, over log2 of the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microbatch import PolicyInfo, Proposal, SizingRequest, StepReport, hookimpl

__all__ = ["Kneedle", "knee"]

DOUBLINGS = 8
"""Sizes from 1/256 of the batch upwards: smaller ones would make a step of more than 256 parts."""
KINDS = 64
"""Signatures and size classes that are remembered; the oldest is forgotten first."""

Key = tuple[str, int]
Curve = dict[int, list[float]]
"""Exponent of a size -> rates measured (units per second); an empty list where it ran out of memory."""


def knee(rates: Sequence[float], sensitivity: float = 1.0) -> int:
    """Index of the knee of an increasing, concave curve with equally spaced x; of its best rate where it has
    none."""
    highest = [max(rates[: index + 1]) for index in range(len(rates))]
    low, high = highest[0], highest[-1]
    if len(rates) < 3 or high <= low:
        return rates.index(max(rates))
    last = len(rates) - 1
    above = [(rate - low) / (high - low) - index / last for index, rate in enumerate(highest)]
    for index in range(1, last):
        if above[index - 1] < above[index] >= above[index + 1]:
            threshold = above[index] - sensitivity / last
            for later in above[index + 1 :]:
                if later > above[index]:
                    break
                if later < threshold or later == above[-1]:
                    return index
    return rates.index(max(rates))


class Kneedle:
    """The policy. `repeats` measurements are made of each size; the best counts."""

    def __init__(self, repeats: int = 2, sensitivity: float = 1.0) -> None:
        if type(repeats) is not int or repeats < 1:
            raise ValueError(f"repeats is {repeats!r}; give a whole number of at least 1")
        if not isinstance(sensitivity, int | float) or not 0 <= sensitivity <= 100:
            raise ValueError(f"sensitivity is {sensitivity!r}; give a number from 0 to 100")
        self._repeats = repeats
        self._sensitivity = sensitivity
        self._curves: dict[Key, Curve] = {}

    def propose(self, request: SizingRequest) -> Proposal:
        """The next size to measure, or the knee."""
        units = request.num_tokens
        arms = _arms(request)
        curve = self._curves.get(_key(request.signature, units), {})
        arm, reason = self._arm(curve, arms)
        limit = max(request.longest_request, min(units, 1 << arm))
        return Proposal(limit=min(units, limit), reason=reason)

    def observe(self, report: StepReport) -> None:
        """Learn the rate of the size that ran."""
        if report.num_tokens < 1:
            return
        if report.oom_sizes:
            self._refuse(report)
            return
        asked = max(report.sizes, default=0) if report.limit is None else report.limit
        arm = _exponent(asked)
        ours = asked == min(report.num_tokens, 1 << arm)
        if report.failure is None and not report.calibration and ours and report.seconds > 0:
            rates = self._curve(report).setdefault(arm, [])
            if len(rates) < self._repeats:
                rates.append(report.num_tokens / report.seconds)

    def state(self) -> Mapping[str, Any]:
        """Rates of every size of every kind of batch."""
        kinds = [
            [*key, [[arm, *rates] for arm, rates in curve.items()]] for key, curve in self._curves.items()
        ]
        return {"policy": "kneedle", "version": 1, "kinds": kinds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take rates back; the last measurement of each size is made again. ValueError for foreign state."""
        curves: dict[Key, Curve] = {}
        try:
            if state["policy"] != "kneedle" or state["version"] != 1:
                raise ValueError("it was written by another policy or version")
            for signature, size_class, arms in state["kinds"][-KINDS:]:
                curve = {
                    int(arm): [float(rate) for rate in rates][: self._repeats - 1] for arm, *rates in arms
                }
                curves[str(signature), int(size_class)] = {
                    arm: rates for arm, rates in curve.items() if rates
                }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the state of policy 'kneedle': {error}") from error
        self._curves = curves

    def _arm(self, curve: Curve, arms: range) -> tuple[int, str]:
        for arm in arms:
            if arm in curve and not curve[arm]:
                arms = range(arms.start, max(arm, arms.start + 1))
                break
            if len(curve.get(arm, ())) < self._repeats:
                return arm, f"measuring {1 << arm}"
        best = [max(curve.get(arm) or [0.0]) for arm in arms]
        arm = arms[knee(best, self._sensitivity)]
        return arm, f"{1 << arm} is the knee of {len(arms)} sizes"

    def _refuse(self, report: StepReport) -> None:
        """No larger size is measured; one that was measured before stays, since memory may return."""
        arm = _exponent(min(report.oom_sizes))
        curve = self._curve(report)
        if not curve.get(arm):
            curve[arm] = []

    def _curve(self, report: StepReport) -> Curve:
        key = _key(report.signature, report.num_tokens)
        curve = self._curves.setdefault(key, {})
        while len(self._curves) > KINDS:
            del self._curves[next(iter(self._curves))]
        return curve


def _arms(request: SizingRequest) -> range:
    """Exponents of the sizes that may run: to the whole batch, or to the limit of the policies before."""
    units, bound = request.num_tokens, request.limit
    top = _exponent(units) if bound is None or bound >= units else max(1, bound).bit_length() - 1
    low = max(_exponent(units) - DOUBLINGS, _exponent(request.longest_request), 0)
    return range(min(low, top), top + 1)


def _key(signature: str, units: int) -> Key:
    return signature, _exponent(units)


def _exponent(units: int) -> int:
    """Of the smallest power of two that is no less than `units`."""
    return max(0, units - 1).bit_length()


@hookimpl
def microbatch_register_policies() -> list[PolicyInfo]:
    """Announce `kneedle`."""
    load = f"{__name__}:Kneedle"
    return [PolicyInfo(name="kneedle", load=load, summary="the knee of the throughput curve over log2(size)")]
