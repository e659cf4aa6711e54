"""Whether one worker with all threads of the framework is faster than several with a share each.

Invariant: costs one step where it is not (its first time is then more than 10 % above the best; two where nothing
has started the framework's threads before), at most six where it is. Neighbouring sizes are tried too, since a part that all cores share may be larger than one that a core has for
itself.
"""

from __future__ import annotations

from microbatch_policies.search import SECOND_CHANCE, WHOLE, SizeSearch

__all__ = ["solo_arm", "solo_choice", "solo_wins"]

PROMISING = 1.1
"""Factor of the best time up to which another size, or another time, may make one worker the best."""
MOST_SOLO = 4
"""Sizes measured with one worker."""
CLEAR = 1.15
"""Factor by which one worker is faster when the others need not be measured again to say so."""


def solo_arm(search: SizeSearch, solo: SizeSearch, low: int, high: int, *, whole: bool) -> int | None:
    """The exponent to measure next with one worker, None when enough is known; `search` is that of all workers."""
    parts = [arm for arm in search.arms if low <= arm <= high]
    if not parts:
        return None
    fastest = min(parts, key=search.value)
    known = [arm for arm in solo.arms if low <= arm <= high]
    if not known:
        return None if solo.refused(fastest) else fastest
    best = min(known, key=solo.value)
    limit = search.value(fastest)
    if whole and WHOLE in search.arms:
        limit = min(limit, search.value(WHOLE))
    if solo.value(best) > PROMISING * limit:
        cold = WHOLE not in search.arms and len(known) == len(solo.arms[best]) == 1
        return best if cold and solo.value(best) <= SECOND_CHANCE * limit else None
    for beside in (best + 1, best - 1) if len(known) < MOST_SOLO else ():
        if low <= beside <= high and beside not in solo.arms and not solo.refused(beside):
            return beside
    return best if len(solo.arms[best]) < 2 and not solo.refused(best) else None


def solo_choice(solo: SizeSearch, low: int, high: int, near: float) -> int | None:
    """The smallest size within `near` of the fastest with one worker; None where none was measured twice."""
    known = [arm for arm in solo.arms if low <= arm <= high]
    if not any(len(solo.arms[arm]) > 1 for arm in known):
        return None
    best = min(map(solo.value, known))
    return min(arm for arm in known if solo.value(arm) <= best * (1 + near))


def solo_wins(search: SizeSearch, solo: SizeSearch, low: int, high: int) -> bool:
    """Whether one worker is so much faster that no second time of the others would change it."""
    known = [solo.value(arm) for arm in solo.arms if low <= arm <= high and len(solo.arms[arm]) > 1]
    others = [search.value(arm) for arm in search.arms if low <= arm <= high or arm == WHOLE]
    return bool(known and others) and min(known) * CLEAR < min(others)
