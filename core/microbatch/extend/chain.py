"""Several policies as one, and the check of every answer a policy gives.

Invariant: what `checked` lets through is a `Proposal` whose limit is None or an int from 1 to the batch, and
whose count is None or an int of at least 1. In a chain each policy may only lower the limit and raise the
count: the order of the members never makes a part larger.

A limit beyond the batch is clamped to it, since it is true: "at most 16" of a batch of 15 says not to cut. So
is a count beyond what the batch can fill, by the planner, which knows the splitter. Rejected: repairing
rubbish (a NaN, a float, 0, a negative number), because a policy that answers it is broken in ways the repair
would hide; and refusing what is beyond the batch, because "parts of 16" is a policy.

A count is the wish of whoever asked for so many parts, so it does not outrank anything: "do not split" of
another member overrules it, and a limit below the even share that it gives (the batch over the count, rounded
up) wins, with more parts. A hard limit holds whatever the count gives; the planner makes as many parts more
as it needs. A limit that is not hard, and not below the even share, is left out beside a count. Such a limit
is mostly the answer of a policy that repeats what it was shown (`pressure`, `buckets`), and where the parts
of a count are uneven (`floor` gives 5 rows in three parts as 1, 1, 3) it would make more of them than were
asked for.
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
from microbatch.options.raised import described, name_of, text_of

__all__ = ["Chain", "Checked", "checked"]

NUMBERS = ("count", "workers", "limit", "start")
"""Fields of a proposal that are None or an int of at least 1."""


class Checked:
    """A policy whose answers are checked; an answer that may not be is a PolicyError naming the policy."""

    def __init__(self, policy: SizingPolicy, name: str, distribution: str = "") -> None:
        self.policy = policy
        self.name = name
        self._who = f"sizing policy {name!r}" + (f" of {distribution}" if distribution else "")
        self._last: tuple[object, int, Proposal] | None = None
        """The last answer, the units of the batch that it was for, and the answer that was let through."""

    def propose(self, request: SizingRequest) -> Proposal:
        """The policy's answer for one step, if it is one."""
        try:
            proposal = self.policy.propose(request)
            last = self._last
            if last is not None and proposal is last[0] and request.num_tokens == last[1]:
                return last[2]  # policies keep their settled answer: 0.1 us instead of 1
            valid = self._valid(proposal, request)
        except (PolicyError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too: a policy is a guest here
            raise self._fault(f"raised {described(error)} in propose") from error
        self._last = (proposal, request.num_tokens, valid)
        return valid

    def observe(self, report: StepReport) -> None:
        """Show the policy a step."""
        try:
            self.policy.observe(report)
        except (PolicyError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self._fault(f"raised {described(error)} in observe") from error

    def state(self) -> Mapping[str, Any]:
        """What the policy learned; empty for one that keeps nothing."""
        try:
            return dict(self.policy.state()) if isinstance(self.policy, SupportsState) else {}
        except (PolicyError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self._fault(f"raised {described(error)} in state") from error

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give the policy back what it learned; raises ValueError if that is not its own."""
        try:
            if isinstance(self.policy, SupportsState):
                self.policy.restore(state)
            elif state:
                raise ValueError("it keeps no state, so this is of another policy")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ValueError(f"{self._who}: {text_of(error) or name_of(error)}") from error

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
        count, workers, limit, start = [self._number(field, getattr(proposal, field)) for field in NUMBERS]
        limit, start = _within(limit, request.num_tokens), _within(start, request.num_tokens)
        as_it_is = count is proposal.count and workers is proposal.workers
        if as_it_is and limit is proposal.limit and start is proposal.start:
            return proposal
        return dataclasses.replace(proposal, limit=limit, count=count, workers=workers, start=start)

    def _number(self, field: str, value: object) -> int | None:
        number = None if value is None else as_whole(value)
        if value is None or (number is not None and number >= 1):
            return number
        raise self._fault(f"answered {field}={shown(value)} where None or an int of at least 1 is due")


class Chain:
    """Policies asked one after another; each may only lower the limit and raise the count.

    It is a policy itself, and public: third parties may build a policy out of others with it, as `auto` does.
    "Do not split" of one holds unless another's bound is `hard` and below the batch. A member sees the lowest
    limit so far, or the even share of the count so far where that is lower, as `request.limit`. Members are
    `(name, policy)` or policies that `checked` made.
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
        """The lowest limit and the highest count, with the reasons of those that had something to say."""
        answers: list[Proposal] = []
        for member in self.members:
            answer = member.propose(request)
            answers.append(answer)
            lower = min(answer.limit or request.num_tokens, even_share(answer.count, request.num_tokens))
            if lower < (request.limit or request.num_tokens):
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


def _within(units: int | None, num_tokens: int) -> int | None:
    """No more than the batch has."""
    return None if units is None else min(units, max(1, num_tokens))


def checked(policy: SizingPolicy, name: str, distribution: str = "") -> Checked:
    """`policy` with every answer checked; `name` and `distribution` are for the error text."""
    return Checked(policy, name, distribution)


def combine(answers: Sequence[Proposal], num_tokens: int) -> Proposal:
    """One answer out of several: the lowest limit, the highest count, the fewest workers, the reasons joined.

    What gives way to what is in the description of this module.
    """
    whole = any(not answer.split for answer in answers)
    count = None if whole else max((a.count for a in answers if a.count is not None), default=None)
    share = None if count is None else even_share(count, num_tokens)
    # a hard bound goes before one of the same size that is not
    bounds = [
        (a.limit, not a.hard)
        for a in answers
        if a.limit is not None and (a.hard or not (whole or (share is not None and a.limit >= share)))
    ]
    limit, soft = min(bounds, default=(None, True))
    if whole and (limit is None or limit >= num_tokens):
        limit, soft = None, True
    else:
        whole = False
    workers = min((answer.workers for answer in answers if answer.workers is not None), default=None)
    starts = [] if whole or count else [answer.start for answer in answers if answer.start is not None]
    reason = "; ".join(dict.fromkeys(answer.reason for answer in answers if answer.reason))
    return Proposal(
        limit=limit,
        count=count,
        split=not whole,
        reason=reason,
        workers=workers,
        start=min(starts, default=None),
        hard=not soft,
    )


def even_share(count: int | None, num_tokens: int) -> int:
    """Units of the largest of `count` even parts; the whole batch where None asks for no count."""
    return max(1, -(-num_tokens // (count or 1)))
