"""Whether fewer workers are faster than all of them.

A single worker has all threads of the framework, and waits for no other. Chains of short operations hold the
interpreter's lock for most of their time: on 2 cores a chain of 8 torch operations takes 33 to 40 ms on two
workers and 21 to 30 ms on one. One worker is tried first, then the numbers next to the fastest one so far, by
halves. Sizes next to the fastest are tried too, since a part that all cores share may be larger than one that
a core has for itself.

Invariant: a number of workers that is more than 10 % slower costs one step, or two where its first time is
doubted (`steady_seconds`); one that is about as fast costs four at most. Rejected: every number of workers at
every size, a grid of 8 by 4 slow steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from microbatch_policies.speed.arms import WHOLE, Allowed, beside
from microbatch_policies.speed.constants import MOST_SIZES, PROMISING, SECOND_CHANCE
from microbatch_policies.speed.size_search import SizeSearch

Searches = Mapping[int, SizeSearch]
"""What was measured with fewer workers, by their number."""


def ladder(workers: int) -> tuple[int, ...]:
    """Numbers of workers that may be tried below `workers`, by halves: 8 gives 4, 2 and 1."""
    return tuple(workers >> halvings for halvings in range(1, workers.bit_length()))


def next_fewer(search: SizeSearch, fewer: Searches, workers: int, allowed: Allowed) -> tuple[int, int] | None:
    """(workers, exponent) to measure next, None when enough is known; `search` is that of all workers.

    `fewer` has a search for each number of the ladder, in its order.
    """
    if workers < 2:
        return None
    known = {workers: search, **fewer}
    best = min(known, key=lambda count: _least(known[count], allowed))
    tried = [(1, search), (best, search), *((count, known[best]) for count in beside(list(known), best))]
    arms = ((count, _next_arm(rival, known[count], allowed)) for count, rival in tried if count != workers)
    return next(((count, arm) for count, arm in arms if arm is not None), None)


def fewer_choice(fewer: Searches, allowed: Allowed, near: float) -> tuple[int, int] | None:
    """(workers, exponent) of the fastest number: the smallest size within `near` of its fastest; None where
    no number was measured."""
    known = [count for count, search in fewer.items() if allowed.sizes(search.arms)]
    if not known:
        return None
    count = min(known, key=lambda count: _least(fewer[count], allowed))
    search = fewer[count]
    least = _least(search, allowed) * (1 + near)
    return count, min(arm for arm in allowed.sizes(search.arms) if search.value(arm) <= least)


def _next_arm(search: SizeSearch, fewer: SizeSearch, allowed: Allowed) -> int | None:
    """The exponent to measure next with one number of workers against the best of `search`."""
    parts, known = allowed.sizes(search.arms), allowed.sizes(fewer.arms)
    if not parts:
        return None
    # 1. the fastest size of `search`
    fastest = min(parts, key=search.value)
    if not known:
        return None if fewer.refused(fastest) else fastest
    best, limit = min(known, key=fewer.value), search.value(fastest)
    if allowed.whole and WHOLE in search.arms:
        limit = min(limit, search.value(WHOLE))
    # 2. if that was clearly slower, a second time only where the first one may have been cold
    if fewer.value(best) > PROMISING * limit:
        cold = WHOLE not in search.arms and len(known) == len(fewer.arms[best]) == 1
        again = fewer.doubtful(best, limit) or (cold and fewer.value(best) <= SECOND_CHANCE * limit)
        return best if again and not fewer.refused(best) else None
    # 3. otherwise neighbours that may have been cold, then those not yet measured
    cold_one = fewer.second_chance(allowed)
    if cold_one is not None or len(known) >= MOST_SIZES:
        return cold_one
    wanted = [arm for arm in allowed.sizes((best + 1, best - 1)) if arm not in fewer.arms]
    return next((arm for arm in wanted if not fewer.refused(arm)), None)


def _least(search: SizeSearch, allowed: Allowed) -> float:
    return min(map(search.value, allowed.sizes(search.arms)), default=float("inf"))
