"""Several policies as one, and the check of every answer a policy gives.

Invariant: what `checked` lets through is a `Proposal` whose limit is None or an int from 1 to the batch. In a
chain each policy may only lower the limit: the order of the members never raises it. Rejected: repairing
rubbish (clamping a NaN, rounding a float), because a policy that answers it is broken in ways the repair
would hide.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from microbatch.errors import PolicyError
from microbatch.extend.abilities import SupportsState
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch.options.checks import as_whole
from microbatch.options.messages import shown

__all__ = ["Chain", "Checked", "checked"]


class Checked:
    """A policy whose answers are checked; an answer that may not be is a PolicyError naming the policy."""

    def __init__(self, policy: SizingPolicy, name: str, distribution: str = "") -> None:
        self.policy = policy
        self.name = name
        self._who = f"sizing policy {name!r}" + (f" of {distribution}" if distribution else "")
        self._last: Proposal | None = None
        self._last_tokens = -1

    def propose(self, request: SizingRequest) -> Proposal:
        """The policy's answer for one step, if it is one."""
        try:
            proposal = self.policy.propose(request)
        except PolicyError:
            raise
        except Exception as error:
            raise self._fault(f"raised {_text(error)} in propose") from error
        if proposal is self._last and request.num_tokens == self._last_tokens:
            return proposal  # policies keep their settled answer: 0.1 us instead of 1
        proposal = self._valid(proposal, request)
        self._last, self._last_tokens = proposal, request.num_tokens
        return proposal

    def observe(self, report: StepReport) -> None:
        """Show the policy a step."""
        try:
            self.policy.observe(report)
        except PolicyError:
            raise
        except Exception as error:
            raise self._fault(f"raised {_text(error)} in observe") from error

    def state(self) -> Mapping[str, Any]:
        """What the policy learned; empty for one that keeps nothing."""
        return self.policy.state() if isinstance(self.policy, SupportsState) else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give the policy back what it learned; raises ValueError if that is not its own."""
        if isinstance(self.policy, SupportsState):
            self.policy.restore(state)
        elif state:
            raise ValueError(f"{self._who} keeps no state, so this is of another policy")

    def _fault(self, what: str) -> PolicyError:
        return PolicyError(f"{self._who} {what}; tell its author, or name another with policy=")

    def _valid(self, proposal: object, request: SizingRequest) -> Proposal:
        if not isinstance(proposal, Proposal):
            raise self._fault(f"answered {shown(proposal)} where a Proposal is due")
        if type(proposal.split) is not bool or type(proposal.hard) is not bool:
            found = f"split={shown(proposal.split)}, hard={shown(proposal.hard)}"
            raise self._fault(f"answered {found} where bools are due")
        if not isinstance(proposal.reason, str):
            raise self._fault(f"answered reason={shown(proposal.reason)}, not a str")
        limit = self._count("limit", proposal.limit, max(1, request.num_tokens))
        workers = self._count("workers", proposal.workers)
        if limit is proposal.limit and workers is proposal.workers:
            return proposal
        return dataclasses.replace(proposal, limit=limit, workers=workers)

    def _count(self, field: str, value: object, most: int | None = None) -> int | None:
        number = None if value is None else as_whole(value)
        if value is None or (number is not None and 1 <= number <= (most or number)):
            return number
        due = f"an int from 1 to {most}" if most else "an int of at least 1"
        raise self._fault(f"answered {field}={shown(value)} where None or {due} is due")


class Chain:
    """Policies asked one after another; each may only lower the limit.

    It is a policy itself, and public: third parties may build a policy out of others with it, as `auto` does.
    "Do not split" of one holds unless another's bound is `hard` and below the batch. A member sees the lowest
    limit so far as `request.limit`. Members are `(name, policy)` or policies that `checked` made.
    """

    def __init__(self, members: Sequence[tuple[str, SizingPolicy] | Checked]) -> None:
        if not members:
            raise PolicyError("a chain of policies is empty; name at least one, such as policy='auto'")
        self.members = tuple(m if isinstance(m, Checked) else checked(m[1], m[0]) for m in members)

    @property
    def name(self) -> str:
        """The members' names, joined by commas as in `policy=`."""
        return ",".join(member.name for member in self.members)

    def propose(self, request: SizingRequest) -> Proposal:
        """The lowest limit of all, with the reasons of those that had something to say."""
        answers: list[Proposal] = []
        for member in self.members:
            answer = member.propose(request)
            answers.append(answer)
            lower = answer.limit
            if lower is not None and lower < (request.limit or request.num_tokens):
                request = dataclasses.replace(request, limit=lower)
        return combine(answers, request.num_tokens)

    def observe(self, report: StepReport) -> None:
        """Show every member the step."""
        for member in self.members:
            member.observe(report)

    def state(self) -> Mapping[str, Any]:
        """What the members learned, by name and place."""
        return {f"{i}:{m.name}": dict(m.state()) for i, m in enumerate(self.members)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give it back; raises ValueError, members as before, if it is of another chain."""
        before = self.state()
        if not isinstance(state, Mapping) or state.keys() != before.keys():
            raise ValueError(f"this is not the state of the chain {self.name!r}")
        try:
            for name, member in zip(before, self.members, strict=True):
                member.restore(state[name])
        except ValueError:
            for old, member in zip(before.values(), self.members, strict=True):
                member.restore(old)
            raise


def checked(policy: SizingPolicy, name: str, distribution: str = "") -> Checked:
    """`policy` with every answer checked; `name` and `distribution` are for the error text."""
    return Checked(policy, name, distribution)


def combine(answers: Sequence[Proposal], num_tokens: int) -> Proposal:
    """One answer out of several: the lowest limit, the fewest workers, the reasons joined."""
    whole = any(not answer.split for answer in answers)
    # a hard bound goes before one of the same size that is not
    bounds = [(a.limit, not a.hard) for a in answers if a.limit is not None and (a.hard or not whole)]
    limit, soft = min(bounds, default=(None, True))
    if whole and (limit is None or limit >= num_tokens):
        limit, soft = None, True
    else:
        whole = False
    workers = min((answer.workers for answer in answers if answer.workers is not None), default=None)
    reason = "; ".join(dict.fromkeys(answer.reason for answer in answers if answer.reason))
    return Proposal(limit=limit, split=not whole, reason=reason, workers=workers, hard=not soft)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
