"""How many tokens and requests a batch has: said by its leaves, compared, and made a BatchShape.

Invariant: two leaves that disagree about a count are named together, with both numbers and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from msgspec import Struct, structs

from microbatch.binding.paths import CallLeaves
from microbatch.cutting.slices import BatchShape
from microbatch.errors import LayoutError


class LeafCount(Struct, frozen=True):
    """What one leaf says about a count."""

    size: int
    """The count."""
    index: int
    """The number of the leaf."""
    axis: int = 0
    """The axis that has as many entries."""


@dataclass(slots=True)
class BatchCounts:
    """What the leaves of one call say about the numbers of tokens and requests."""

    leaves: CallLeaves
    """The leaves that say it."""
    tokens: LeafCount | None = None
    """The number of tokens; None where no leaf has said it yet."""
    requests: LeafCount | None = None
    """The same of requests."""
    starts: np.ndarray | None = None
    """Where each request starts, and the end; None where no leaf says it."""
    needs_starts: int | None = None
    """A leaf that can be cut only by the starts."""
    given: BatchShape | None = None
    """The counts, where the caller said where to cut: leaves may have the real rows or the padded ones."""

    def take_starts(self, index: int, starts: np.ndarray) -> None:
        """Take both counts from a query_start_loc; a second one must be equal."""
        if self.given is not None and len(starts) == self.given.requests_to_run + 1:
            starts = starts[: self.given.num_requests + 1]
        if self.starts is not None and not np.array_equal(self.starts, starts):
            assert self.tokens is not None
            raise LayoutError(
                f"{self.leaves.name(index)} and {self.leaves.name(self.tokens.index)} are two different "
                "query_start_loc of one batch; pass one"
            )
        self.starts = starts
        self.tokens, self.requests = LeafCount(int(starts[-1]), index), LeafCount(len(starts) - 1, index)

    def take(self, unit: Literal["tokens", "requests"], count: LeafCount) -> None:
        """Take the number of tokens or requests; raises LayoutError where another leaf has said another."""
        count = structs.replace(count, size=self.real(unit, count.size))
        known = (self.tokens if unit == "tokens" else self.requests) or count
        if known.size != count.size:
            raise LayoutError(
                f"{self.leaves.name(count.index)} has {count.size} {unit} (axis {count.axis}) but "
                f"{self.leaves.name(known.index)} says {known.size}; correct the rule of one of them, or "
                "declare it replicate()"
            )
        setattr(self, unit, known)

    def known(self) -> bool:
        """Whether any leaf has said a count yet."""
        return self.tokens is not None or self.requests is not None

    def unit_of(self, size: int) -> str | None:
        """What an undeclared first axis of `size` has entries for; None where that is not certain."""
        if self.ambiguous(size):
            return None
        if self.tokens is not None and self.real("tokens", size) == self.tokens.size:
            return "tokens"
        fits = self.requests is not None and self.real("requests", size) == self.requests.size
        return "requests" if fits else None

    def real(self, unit: str, size: int) -> int:
        """`size` of a leaf, without padding."""
        if self.given is None:
            return size
        tokens = unit == "tokens"
        padded = self.given.tokens_to_run if tokens else self.given.requests_to_run
        return (self.given.num_tokens if tokens else self.given.num_requests) if size == padded else size

    def ambiguous(self, size: int) -> bool:
        """Whether `size` entries could be tokens or requests, which are not the same rows."""
        if self.tokens is None or self.requests is None or self.starts is None:
            return False
        both = (
            self.real("tokens", size) == self.tokens.size
            and self.real("requests", size) == self.requests.size
        )
        return both and bool((np.diff(self.starts) != 1).any())

    def misfit(self, count: LeafCount) -> str:
        """Why an undeclared leaf with `count` rows fits nothing, and what to declare."""
        known = self.tokens or self.requests
        assert known is not None, "the first undeclared leaf gives the count itself"
        leaf, pattern = self.leaves.name(count.index), self.leaves.pattern(count.index)
        rows = "1 row" if count.size == 1 else f"{count.size} rows"
        if self.starts is not None:
            return self._misfit_to_starts(count, f"{leaf} has {rows}")
        if count.size == 1:
            remedy = f"if it is shared by all rows, pass Layout(inputs={{{pattern!r}: replicate()}})"
        else:
            remedy = f"declare {pattern!r} replicate() if it is not per row, or tokens(axis) for another axis"
        return f"{leaf} has {rows} but {self.leaves.name(known.index)} has {known.size} (axis 0); {remedy}"

    def _misfit_to_starts(self, count: LeafCount, fact: str) -> str:
        assert self.starts is not None and self.tokens is not None and self.requests is not None
        tokens, requests = self.tokens.size, self.requests.size
        if count.size == tokens:
            return f"{fact}, and there are as many tokens as requests; declare it tokens() or requests()"
        hint = "query_start_loc()" if count.size == len(self.starts) else "replicate() or tokens(axis)"
        return f"{fact} but the batch has {tokens} tokens and {requests} requests; declare it {hint}"

    def shape(self) -> BatchShape:
        """The counts as a record; where only one is known, each row is a request of its own."""
        tokens, requests = self.tokens or self.requests, self.requests or self.tokens
        if tokens is None or requests is None:
            raise LayoutError(
                "no argument says how many rows there are, so there is nothing to split; declare one tokens()"
            )
        if self.given is not None:
            return self._shape_given(self.given, tokens, requests)
        if self.starts is None and tokens.size != requests.size:
            self._check_apart(tokens, requests)
        return BatchShape(num_tokens=tokens.size, num_requests=requests.size, query_start_loc=self.starts)

    def _shape_given(self, given: BatchShape, tokens: LeafCount, requests: LeafCount) -> BatchShape:
        """The counts that the caller gave, which the leaves must have."""
        counts = [("tokens", tokens, given.num_tokens, given.tokens_to_run)]
        if self.requests is not None:
            counts.append(("requests", requests, given.num_requests, given.requests_to_run))
        for unit, found, real, padded in counts:
            if found.size != real:
                more = f", padded to {padded}" if padded != real else ""
                name = self.leaves.name(found.index)
                raise LayoutError(
                    f"{name} has {found.size} {unit} (axis {found.axis}) but the cut in ubatch_slices is of "
                    f"{real}{more}; cut the batch that you pass"
                )
        if self.starts is None and self.needs_starts is not None:
            self._check_apart(tokens, requests)
        return replace(given, query_start_loc=self.starts)

    def _check_apart(self, tokens: LeafCount, requests: LeafCount) -> None:
        """Without starts, requests are taken as equally long: refuse what cannot be so."""
        if self.needs_starts is not None:
            raise LayoutError(
                f"{self.leaves.name(self.needs_starts)} is cut by where each request starts, which no leaf "
                "says; declare one query_start_loc()"
            )
        if tokens.size < requests.size:
            raise LayoutError(
                f"{tokens.size} tokens cannot cover {requests.size} requests; each needs at least one"
            )
