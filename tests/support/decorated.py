"""Functions and classes as users of decorators write them, in a module that other processes can import."""

from __future__ import annotations

from typing import Any

import microbatch


@microbatch.wrap
def doubled(x: Any, *, times: int = 2) -> Any:
    """Twice as much."""
    return x * times


@microbatch.wrap(num_ubatches=3, verify="never")
def in_three(x: Any) -> Any:
    """One more."""
    return x + 1


def halved(x: Any) -> Any:
    """Half as much."""
    return x / 2


class Scaler:
    """Methods of all kinds."""

    shift = 5

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @microbatch.wrap(num_ubatches=4)
    def scaled(self, x: Any) -> Any:
        """Times the factor."""
        return x * self.factor

    @microbatch.wrap
    @staticmethod
    def static_below(x: Any) -> Any:
        """One more."""
        return x + 1

    @staticmethod
    @microbatch.wrap
    def static_above(x: Any) -> Any:
        """One more."""
        return x + 1

    @microbatch.wrap(num_ubatches=2)
    @classmethod
    def class_below(cls, x: Any) -> Any:
        """Shifted."""
        return x + cls.shift

    @classmethod
    @microbatch.wrap(num_ubatches=2)
    def class_above(cls, x: Any) -> Any:
        """Shifted."""
        return x + cls.shift


class Slotted:
    """Its instances cannot be referred to weakly."""

    __slots__ = ("factor",)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @microbatch.wrap(num_ubatches=2)
    def scaled(self, x: Any) -> Any:
        """Times the factor."""
        return x * self.factor
