"""What a sizing policy is given: `policy_options={"deadline": 0.05}`.

Invariant: kept as sorted pairs of names and plain values, so that a record of options stays one that can be
hashed, pickled and compared. A value that is itself such pairs is for the policy of that name, in a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microbatch.errors import ArgumentTypeError, ArgumentValueError, UnknownNameError, near_match
from microbatch.options.messages import given, shorten

Pairs = tuple[tuple[str, Any], ...]
"""Names and values, sorted by name."""
_PLAIN = (bool, int, float, str, type(None))


def pairs_of(name: str, value: Any) -> Pairs:
    """The pairs of a mapping, of such pairs, or of a text: JSON, or `deadline=0.05,risk=0.1`."""
    if isinstance(value, str):
        value = _from_text(name, value)
    if isinstance(value, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(
            f"{name} is {given(value)}; give names and values, such as {{'deadline': 0.05}}"
        )
    return tuple(sorted((_name(name, key), _value(name, key, kept)) for key, kept in value.items()))


def options_of(pairs: Pairs, policy: str, chain: Sequence[str]) -> dict[str, Any]:
    """The options of one policy of `chain`. Raises UnknownNameError, ArgumentValueError for a chain that
    leaves open whose an option is."""
    for name, value in pairs:
        if isinstance(value, tuple) and name not in chain:
            hint = near_match(name, chain)
            raise UnknownNameError(
                f"policy_options has options for {name!r}, and the policy is not that;{hint}"
            )
        if not isinstance(value, tuple) and len(chain) > 1:
            meant = " or ".join(f"{{{each!r}: {{{name!r}: {value!r}}}}}" for each in chain)
            raise ArgumentValueError(
                f"policy_options has {name!r}, and the policy is a chain of {', '.join(chain)}; "
                f"say whose it is: policy_options={meant}"
            )
    own = {name: value for name, value in pairs if not isinstance(value, tuple)}
    return own | {key: kept for name, value in pairs if name == policy for key, kept in value}


def _name(option: str, key: object) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ArgumentTypeError(f"{option} has the name {given(key)}; names are texts, such as 'deadline'")
    return key


def _value(option: str, key: str, value: Any) -> Any:
    if isinstance(value, (Mapping, tuple)):
        return pairs_of(f"{option}[{key!r}]", value)
    if not isinstance(value, _PLAIN):
        raise ArgumentTypeError(f"{option}[{key!r}] is {given(value)}; give a number, a text or a switch")
    return value


def _from_text(name: str, text: str) -> Any:
    import msgspec  # 4 ms, and few set this

    fields = [field.partition("=") for field in text.split(",") if field.strip()]
    whole = text.strip().startswith("{")
    if not whole and not all(middle for _, middle, _ in fields):
        raise ArgumentValueError(f"{name} is {shorten(text)!r}; write it as deadline=0.05, or as JSON")
    try:
        return msgspec.json.decode(text) if whole else {key.strip(): _read(value) for key, _, value in fields}
    except msgspec.DecodeError as error:
        raise ArgumentValueError(f"{name} is {shorten(text)!r}, which is not JSON: {error}") from None


def _read(text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.strip()
