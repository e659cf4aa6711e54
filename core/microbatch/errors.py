"""Every error microbatch raises on purpose, and the one way it warns.

Invariant: each concrete class is a `MicrobatchError` and also the builtin a caller would already catch. Texts
are one lower-case sentence with the facts, then the remedy. An error raised by the wrapped function is never
replaced by one of these: it reaches the caller as it is, with a note that names the ubatch.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path


class MicrobatchError(Exception):
    """Base of all errors below; catching it catches nothing that the wrapped function raised."""


class ArgumentTypeError(MicrobatchError, TypeError):
    """An argument is of the wrong kind: a bool where a count is meant, something not callable."""


class ArgumentValueError(MicrobatchError, ValueError):
    """An argument is of the right kind and has a value that cannot be used."""


class ConfigError(MicrobatchError, ValueError):
    """A configuration value is unknown, of a wrong type or out of range; the text says where it came from."""


class LayoutError(MicrobatchError, ValueError):
    """The inputs do not fit the layout: row counts differ, nothing to split, a leaf that cannot be cut."""


class UncoveredArrayError(LayoutError):
    """An array leaf that no layout rule covers; cutting without a rule would give wrong answers."""


class UnprovenError(LayoutError):
    """Parts were asked for, and a few rows showed that the function gives other results in parts."""


class SliceError(MicrobatchError, ValueError):
    """Slices overlap, leave a gap, run backwards or leave the batch; or a batch cannot be cut as asked."""


class OutputMismatchError(MicrobatchError, ValueError):
    """Outputs of the ubatches do not fit together: rows, structure, dtype or trailing shape."""


class UnknownNameError(MicrobatchError, LookupError):
    """A backend, policy, splitter, schedule or option of that name does not exist."""


class BackendUnavailableError(MicrobatchError, RuntimeError):
    """The named backend exists and cannot run on this machine; the text has the reason and the remedy."""


class PluginError(MicrobatchError, RuntimeError):
    """A plugin broke its side of the contract: wrong type, misspelt hook, other API number."""


class PluginLoadError(PluginError):
    """A plugin or what it announced failed to import; the cause is chained."""


class PluginConflictError(PluginError):
    """Two plugins announce the same name; the text names both distributions."""


class PolicyError(MicrobatchError, ValueError):
    """A sizing policy raised, or answered something that is not a Proposal it may make."""


class StateTransitionError(MicrobatchError, RuntimeError):
    """A ubatch was asked to change to a state that does not follow from the one it is in."""


class BarrierBrokenError(MicrobatchError, RuntimeError):
    """A barrier or a hand-off between ubatches was aborted while somebody waited at it."""


class WaitTimeoutError(MicrobatchError, TimeoutError):
    """A wait passed its limit; the text says who waits where and for whom."""


class UnequalYieldsError(MicrobatchError, RuntimeError):
    """With `strict_yields`, the ubatches passed different numbers of yield points."""


class ThreadStateError(MicrobatchError, RuntimeError):
    """What a framework keeps per thread (a device, a mode) was not put back, such as across a yield."""


class StepOutOfMemoryError(MicrobatchError, MemoryError):
    """A step ran out of memory at the smallest size; sizes tried, bytes and advice are in the text."""


class StreamsExhaustedError(MicrobatchError, RuntimeError):
    """All streams that the framework hands out for a device are in use."""


class ThreadStartError(MicrobatchError, RuntimeError):
    """A thread that a step needs cannot be started; nothing of the step has run."""


class RanksError(MicrobatchError, RuntimeError):
    """The ranks of a process group cannot run a step together; it was refused before the first call."""


class ClosedError(MicrobatchError, RuntimeError):
    """The wrapper was shut down, or belongs to the process this one was forked from."""


class InputFileError(MicrobatchError, OSError):
    """An input file is missing, cut short, or of a kind that cannot be read."""


class InputChangedError(InputFileError):
    """An input file became shorter while it was read: rows are gone, and nothing is written."""


class OutputFileError(MicrobatchError, OSError):
    """An output file cannot be written; whatever stood under its name is still there."""


def near_match(name: str, known: Iterable[str]) -> str:
    """Return " did you mean 'x'?" for the closest of `known`, or the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" did you mean {close[0]!r}?"
    return f" known: {', '.join(names)}." if names else " there are none."


PACKAGE = f"{Path(__file__).resolve().parent}{os.sep}"


def warn(text: str, category: type[Warning]) -> None:
    """Warn with `text` at the nearest line of somebody else's code.

    So Python's "once per place" is once per line of the user. Rejected: `stacklevel` counted by hand, which
    is wrong as soon as a function is called by another way.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
