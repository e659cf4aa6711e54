"""Run a pair both ways, plain and wrapped, and say what came of it.

Invariant: the plain call and the wrapped one have a function, inputs and random state each of their own, made
alike. What is compared: the answer, arrays that were given (a function may write into them), and the state of
the random numbers afterwards. The second call has other values of the same structure.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import microbatch
from microbatch import Layout, MicrobatchError, query_start_loc
from tests.core.proof.pair import By, Pair, Sizes
from tests.support.answers import Compare

STARTS = "query_start_loc"
Kind = Literal["right", "refused", "silently wrong", "foreign error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a pair is wrapped."""

    name: str
    """Names the way in messages."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the wrapper."""
    large: bool = False
    """Whether the batch is large enough for the default policy to cut it."""
    requests: bool = False
    """Whether requests are declared."""
    takes: tuple[By, ...] = ("rows",)
    """Pairs that may be cut by these must give an answer."""
    cuts: bool = True
    """Whether they must be cut for it."""

    def __str__(self) -> str:
        return self.name


FIXED: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}
AUTO = Way(name="auto", large=True, cuts=False)
FIXED_FOUR = Way(name="fixed", options=FIXED)
ALIGNED = Way(
    name="request-aligned",
    options={"policy": "tokens", "splitter": "request-aligned"},
    requests=True,
    takes=("rows", "requests"),
)
WAYS = (AUTO, FIXED_FOUR, ALIGNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one call."""

    kind: Kind
    """"refused" is an error of ours, "foreign error" another one that the plain call did not raise."""
    text: str = ""
    """The difference, or the error."""
    parts: int = 1
    """Into how many the batch was cut."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Runs:
    """One pair, one way."""

    pair: Pair
    way: Way

    @property
    def sizes(self) -> Sizes:
        """Of the batch."""
        return self.pair.large if self.way.large else self.pair.small

    @property
    def options(self) -> dict[str, Any]:
        """Of the wrapper; requests are cut between by a limit, as a count may fall into one."""
        limit = {"max_tokens_per_ubatch": max(7, self.sizes.rows // 2)} if self.way.requests else {}
        return {**self.way.options, **limit}

    def outcomes(self, calls: int = 2) -> Iterator[Outcome]:
        """Of each call, one after another, of one wrapper."""
        plain = self.function()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with microbatch.wrap(self.function(), layout=self.layout(), **self.options) as wrapped:
                for number in range(calls):
                    yield self.outcome(plain, wrapped, number)

    def outcome(self, plain: Callable[..., Any], wrapped: Any, number: int) -> Outcome:
        """Of call `number`."""
        (args, kwargs), (own_args, own_kwargs) = self.arguments(number), self.arguments(number)
        seed(number)
        expected = plain(*args, **kwargs)
        state = random_state()
        seed(number)
        try:
            found = wrapped(*own_args, **own_kwargs)
        except MicrobatchError as error:
            return Outcome(kind="refused", text=f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  # whatever is raised is what was looked for
            return Outcome(kind="foreign error", text=f"{type(error).__name__}: {error}")
        differs = (
            self.compare.difference(expected, found)
            or Compare().difference(
                without_iterators((args, kwargs)), without_iterators((own_args, own_kwargs)), "input"
            )
            or Compare().difference(state, random_state(), "random state")
        )
        report = wrapped.last_report
        kind: Kind = "silently wrong" if differs else "right"
        return Outcome(kind=kind, text=differs or report.reason, parts=len(report.sizes))

    @property
    def compare(self) -> Compare:
        """Random numbers agree bit for bit where the policy may run the batch whole."""
        return Compare(exact=self.pair.exact and self.way is AUTO)

    def function(self) -> Callable[..., Any]:
        """Made anew; one that takes no starts is given a parameter for them where requests are declared."""
        made = self.pair.make(self.sizes)
        return _with_starts(made) if self.way.requests and not self.pair.starts else made

    def arguments(self, number: int) -> tuple[list[Any], dict[str, Any]]:
        """Made anew."""
        args, kwargs = self.pair.arguments(self.sizes, number)
        starts = {STARTS: self.pair.starts_of(self.sizes)} if self.way.requests or self.pair.starts else {}
        return args, {**kwargs, **starts}

    def layout(self) -> Layout | None:
        """What the pair declares, and the starts."""
        declared = self.pair.layout or Layout()
        if not (self.way.requests or self.pair.starts):
            return self.pair.layout
        return Layout(inputs={**declared.inputs, STARTS: query_start_loc()}, outputs=declared.outputs)


def fails(runs: Runs) -> str:
    """What is wrong with the outcomes of a pair, in a sentence; empty where nothing is."""
    for number, outcome in enumerate(runs.outcomes()):
        place = f"{runs.pair.name!r} under {runs.way}, call {number + 1}"
        if outcome.kind in ("silently wrong", "foreign error"):
            return f"{place}: {outcome}"
        if runs.pair.by in runs.way.takes and outcome.kind == "refused":
            return f"{place}: may be cut by {runs.pair.by}, and was {outcome}"
        if runs.pair.by in runs.way.takes and runs.way.cuts and outcome.parts == 1:
            return f"{place}: may be cut by {runs.pair.by}, and was not: {outcome.text}"
    return ""


def _with_starts(function: Callable[..., Any]) -> Callable[..., Any]:
    def with_starts(*args: Any, query_start_loc: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return with_starts


def without_iterators(value: Any) -> Any:
    """The same tree without iterators, which differ in how far they were read."""
    if isinstance(value, (list, tuple)):
        return [without_iterators(one) for one in value]
    if isinstance(value, dict):
        return {key: without_iterators(one) for key, one in value.items()}
    return None if isinstance(value, Iterator) else value


def seed(number: int) -> None:
    """Set the random state of the process."""
    random.seed(number)
    np.random.seed(number)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)


def random_state() -> Any:
    """The random state of the process."""
    name, keys, place, *rest = np.random.get_state()
    known = {"random": random.getstate(), "numpy": [name, keys, place, *rest]}
    torch = sys.modules.get("torch")
    if torch is not None:
        known["torch"] = torch.get_rng_state()
    return known
