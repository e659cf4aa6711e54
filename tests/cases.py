"""The numbered cases that a hand-off, a recovery and a merge have to get right; `test_marks.py` holds tests
to them.

The numbers are those of the list the project started from, taken from the suites of CPython, Java, trio,
anyio, torchgpipe and vLLM, and from bugs seeded here. A test names what it shows with `@pytest.mark.case(21,
29)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CASES"]

BARRIER = {
    1: "Nobody passes before all parties have arrived.",
    2: "Ten rounds in a row work as the first.",
    3: "A single party passes at once, and again.",
    4: "A count of parties that is none, too small or absurdly large is refused by name.",
    5: "The places that a round gives out are each number once.",
    6: "The action runs once a round, before anybody passes.",
    7: (
        "An action that raises breaks the round: its own error for the party that ran it, a broken "
        "barrier for the rest."
    ),
    8: "An abort while some wait ends every wait with the reason.",
    9: "An abort before anybody waits is found by whoever comes.",
    10: "Arriving at a broken barrier is an error at once, without waiting.",
    11: "A limit that passes is told to the late party; the others hear that the barrier broke.",
    12: "A limit of zero asks without waiting.",
    13: "The limit given when the barrier was made holds where a wait names none.",
    14: (
        "A reset frees those who wait, with an error, and leaves a barrier like new; with nobody "
        "there it changes nothing."
    ),
    15: "A barrier that broke by a limit, an abort, an interrupt or its action works again after a reset.",
    16: "A fast party that comes round again is not counted with the slow ones of the round before.",
    17: "An interrupt of one waiting party frees the others.",
    18: "A party that leaves the ring is no longer waited for, and the turn goes to who came after it.",
    19: (
        "Who comes to a full round belongs to the next; once broken or scattered, every call answers at once."
    ),
}

WORKERS = {
    20: "An error before the start line reaches the caller as it was, and nobody stays at the line.",
    21: "An error at any yield reaches the caller as it was, and no parked sibling stays parked.",
    22: "After a failure no sibling does another piece of work, and nobody begins before all are set up.",
    23: "Where all raise, the first in time is raised and the others are told in its notes.",
    24: "An error in a receive hook of a ubatch that is leaving still passes the turn on.",
    25: "SystemExit, GeneratorExit and KeyboardInterrupt in a worker reach the caller.",
    26: "An exception that counts as false is raised like any other.",
    27: "A StopIteration from a worker reaches the caller as itself.",
    28: "A thread that cannot be started is an error that leaves no other thread parked and no work begun.",
    29: "Any numbers of yields run to the end; who has finished is passed over.",
    30: "One to eight ubatches work alike.",
    31: "Ctrl-C at any bytecode of the caller loses no turn and parks nobody.",
    32: (
        "A second Ctrl-C while the first is being handled ends the waiting in bounded time, and says "
        "what was left."
    ),
    33: (
        "After a fork, before, between or inside steps, the child starts afresh or gets an error, "
        "and never waits."
    ),
    34: "A fork inside a worker does not hang parent or child.",
    35: "A process pool may live beside the workers.",
    36: "Parked workers do not keep the interpreter from ending.",
    37: "A step in an exit handler runs.",
    38: "The interpreter ends while a daemon thread is in a step.",
    39: "A wrapper inside the step of another works.",
    40: "A wrapper may be called from inside its own step.",
    41: "Eight threads may call one wrapper at once, and each gets its own rows.",
    42: "Two wrappers at work at once do not see each other.",
    43: "A wrapper or pool that is dropped, in a reference cycle too, leaves no thread.",
    44: "Nothing of a finished step is kept alive, whether it failed or not.",
    45: (
        "What the caller has set for its thread holds in every ubatch; what a ubatch sets is gone "
        "after the step."
    ),
    46: "Workers carry names that say whose they are, and the caller's thread keeps its own.",
}

HAND_OFF = {
    47: "A signal before the wait is not lost.",
    48: "Two signals are one.",
    49: "A hand-off that clears its gate after signalling is found by the tests.",
    50: "An abort that wakes before it sets its flag is found by the tests.",
    51: "A permit left by a failed step is not taken for a turn by the next.",
    52: "A limit that passes in the moment of the signal is one or the other, never both.",
    53: "A wait that returns for nothing changes nothing.",
    54: (
        "A gate that claims a passed limit three times, although nothing passed, loses no turn, "
        "round or worker."
    ),
    55: "The order of work is 0, 1, .., n-1, 0 with the finished left out.",
    56: "At most one ubatch works at any moment.",
    57: "Stream and current ubatch are put back after the wake-up, not before the wait.",
    58: "A yield in a thread that carries no ubatch is an error that says so.",
}

MEMORY = {
    59: (
        "Memory may run out in any ubatch, at any place of its way; what it had computed is gone "
        "before the next try."
    ),
    60: "No local variable of the failed call is alive when the retry starts.",
    61: "An error that the caller keeps keeps no frame of a failed attempt.",
    62: "The last error is raised from the first framework error, whose text is kept.",
    63: "Sizes halve, attempts are bounded and told, and one row is the end.",
    64: (
        "Running out while cutting, while making the result, in the policy and in the caller reads "
        "differently."
    ),
    65: "Running out of memory while recovering from it ends in an error, not in a loop.",
    66: "No other error is ever retried.",
    67: (
        "Only what the frameworks raise counts as out of memory, not an error of the function that "
        "mentions it."
    ),
    68: (
        "Rows that finished are not computed again, and a function that writes into its inputs is "
        "found by `check`."
    ),
    69: (
        "Running out in one ubatch while siblings are parked hangs nobody, and pending work ends "
        "before memory is given back."
    ),
    70: "A size that failed is not tried again in the next steps, and forgotten after a while.",
}

MERGE = {
    71: "Rows come back in the caller's order, whichever ubatch finishes first.",
    72: "Two dtypes among the ubatches are an error, never a promotion.",
    73: "An empty vector beside a matrix is an error.",
    74: "An empty batch and an empty row keep dtype and trailing shape.",
    75: "A leaf without rows must be equal in all ubatches, else be declared.",
    76: "None, truth values, text and whole numbers must be equal in all ubatches.",
    77: "Dict order, missing keys, named tuples and registered containers are kept or told apart.",
    78: "Trailing shapes that differ are an error with both shapes.",
    79: "A wrong number of rows is an error that names the ubatch and the output.",
    80: "An output that is its input comes back as memory of its own.",
    81: "A function that returns the same memory every time gives right rows, or an error that says so.",
    82: "A result does not keep the batch alive that its rows were views of.",
    83: "One ubatch gives what the plain call gives, in type and structure.",
    84: "Masks, units and other subclasses survive, and are not mixed with plain arrays.",
}

CASES: Mapping[int, str] = MappingProxyType({**BARRIER, **WORKERS, **HAND_OFF, **MEMORY, **MERGE})
"""Number -> what must hold."""
