"""The rules that say which axis of a leaf is cut, and the record that declares them.

Invariant: a rule is a plain frozen value; it never looks at an array. Which leaf a rule is for is decided by
`paths.py`; what the rule does, by `leaf_parts.py` for inputs and by `gathering` for outputs. Rejected: one
class per rule, since their differences are one name and at most two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from microbatch.errors import ArgumentTypeError
from microbatch.options.checks import whole

InputKind = Literal["query_start_loc", "seq_lens", "computed_tokens", "per_ubatch"]
OutputKind = Literal["reduce", "collect"]
Kind = Literal["tokens", "requests", "replicate"] | InputKind | OutputKind

LengthSource = str | Callable[[tuple[Any, ...], dict[str, Any]], Sequence[int]]
"""Where the length of each request is: the path of a leaf, or a function of (args, kwargs)."""

ROW_KINDS = frozenset({"tokens", "requests"})
"""Rules that cut an axis; what they are given keeps its values."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one leaf is; made by the functions below."""

    kind: Kind
    """Name of the rule."""
    axis: int = 0
    """The axis that is cut; negative counts from the last."""
    trim: int | None = None
    """A second axis, padded to the longest row: cut down to the longest row of each part."""
    function: Callable[..., Any] | None = None
    """What `per_ubatch` or `reduce` calls."""

    def __str__(self) -> str:
        shown = str(self.axis) if self.axis else ""
        return f"{self.kind}({shown})"


def tokens(axis: int = 0, *, trim: int | None = None) -> Rule:
    """`axis` has one entry per token (or per row, where each row is its own request).

    `trim` names a padded axis: parts are cut down to their longest row when the cut packs by lengths; as an
    output rule, parts of different width are padded with zeros to the full width.
    """
    return Rule("tokens", whole("axis", axis), None if trim is None else whole("trim", trim))


def requests(axis: int = 0, *, trim: int | None = None) -> Rule:
    """`axis` has one entry per request; `trim` as in `tokens`.

    An output of a request that straddles two ubatches is taken from the last of them: that one has seen all
    of the request's tokens.
    """
    return Rule("requests", whole("axis", axis), None if trim is None else whole("trim", trim))


def query_start_loc() -> Rule:
    """Cumulative tokens per request, length requests + 1, from 0; each part gets it rebased to its tokens."""
    return Rule("query_start_loc")


def seq_lens() -> Rule:
    """Length of each request's sequence after this step.

    Only a request that a part breaks off is shortened, by its tokens that come later (vLLM's rule).
    """
    return Rule("seq_lens")


def computed_tokens() -> Rule:
    """Tokens of each request computed before this step.

    A request that a part continues has more of them, by its tokens in earlier parts.
    """
    return Rule("computed_tokens")


def replicate() -> Rule:
    """Every ubatch gets the leaf whole. As an output rule: all ubatches must return the same value."""
    return Rule("replicate")


def per_ubatch(fn: Callable[[Any, Any, int], Any]) -> Rule:
    """Each ubatch gets `fn(value, slice_info, ubatch_id)`, where `value` may be any tree."""
    return Rule("per_ubatch", function=_callable("per_ubatch", fn))


def reduce(fn: Callable[[list[Any], list[int]], Any]) -> Rule:
    """The output is `fn(values, weights)`: one value a ubatch in row order, and its number of tokens.

    A mean over rows comes out as `reduce(lambda v, w: sum(a * b for a, b in zip(v, w)) / sum(w))`.
    """
    return Rule("reduce", function=_callable("reduce", fn))


def collect() -> Rule:
    """The output is the list of what the ubatches returned, in row order."""
    return Rule("collect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which leaf of the inputs and outputs is what, where sizes do not say it.

    A pattern is a field name (`mask`), a dotted path (`batch.mask`, `0` for the first positional argument,
    `output` for a result that is one leaf) or has wildcards (`*.mask`). The first match counts. A pattern
    without wildcards may also name a container: the rule then holds for every array in it, and a list so
    named is cut as a list. A pattern without wildcards that names no argument of the first call is warned of,
    as it may be misspelt. Raises ArgumentTypeError for a pattern or rule that cannot be one.
    """

    inputs: Mapping[str, Rule] = field(default_factory=dict)
    """pattern -> rule for the arguments."""
    outputs: Mapping[str, Rule] = field(default_factory=dict)
    """pattern -> rule for what the function returns."""
    lengths: LengthSource | None = None
    """Where the length of each request is: path of a 2-D mask (last true column + 1) or of a 1-D integer
    leaf, or a function of (args, kwargs); None when rows are equally long."""
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Rules found for the structures seen so far; kept by `paths.py`."""
    settled: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)
    """(side, pattern) of the patterns that were looked for in a call; kept by `patterns.py`."""

    def __post_init__(self) -> None:
        _check_rules("inputs", self.inputs, get_args(OutputKind))
        _check_rules("outputs", self.outputs, get_args(InputKind))
        if not (self.lengths is None or isinstance(self.lengths, str) or callable(self.lengths)):
            kind = type(self.lengths).__name__
            raise ArgumentTypeError(f"lengths must be a path or a function of (args, kwargs), got {kind}")


TOKENS = tokens()
"""The rule of rows along axis 0; what is found is always this very object, so `is` recognises it."""


def _check_rules(side: str, rules: object, refused: Sequence[str]) -> None:
    if not isinstance(rules, Mapping):
        raise ArgumentTypeError(f"{side} must map patterns to rules, got {type(rules).__name__}")
    for pattern, rule in rules.items():
        if not isinstance(pattern, str):
            raise ArgumentTypeError(
                f"{side} has the pattern {pattern!r}; patterns are strings such as 'mask'"
            )
        if not isinstance(rule, Rule):
            raise ArgumentTypeError(
                f"{side}[{pattern!r}] must be a rule such as tokens(), got {type(rule).__name__}"
            )
        if rule.kind in refused:
            other = "outputs" if side == "inputs" else "inputs"
            raise ArgumentTypeError(f"{rule.kind}() is a rule for {other}; it cannot be {side}[{pattern!r}]")


def _callable(rule: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise ArgumentTypeError(f"{rule}() needs a function, got {type(value).__name__}")
    return value  # type: ignore[no-any-return]
