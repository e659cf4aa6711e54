"""Sixty-five bad or doubtful inputs and what the user gets; `test_marks.py` sees that each has a test.

A test names what it shows with `@pytest.mark.bad_input(12, 13)`. Where an input is not an error here, the
sentence says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["BAD_INPUTS"]

BATCH = {
    1: "Leaves with unequal numbers of rows are refused, with both names and both numbers.",
    2: "Arguments of which nothing has rows are refused: there is nothing to split.",
    3: "A batch of no rows is one call with the empty batch.",
    4: "Requests without a single token among them are refused with their number.",
    5: "Fewer tokens than requests are refused with both numbers.",
    6: "Offsets that begin elsewhere than at 0 are refused with where they begin.",
    7: "Offsets that fall are refused with the index and both values.",
    8: "Offsets that end elsewhere than the tokens do are refused with both ends.",
}

SLICES = {
    9: "Slices that share tokens are refused, with which ones and which tokens.",
    10: "Tokens that no slice holds are named.",
    11: "Slices in another order than the rows are refused, with both.",
    12: "A slice that ends beyond the batch is refused, never cut short.",
    13: "A slice from a negative place is refused, never counted from the end.",
    14: "A slice that runs backwards is refused, never taken as empty.",
    15: "A slice with a step is refused: a ubatch is a contiguous range.",
    16: (
        "More ubatches than rows are as many as rows for a step, and refused where a cut is asked "
        "for exactly."
    ),
}

OPTIONS = {
    17: "A count below 1 is refused with the option's name and the value.",
    18: "A bool, float or text is no count; an integer of any make is one.",
    19: "A count of ubatches above the cap is refused, with the cap and the option that raises it.",
    20: "A threshold that is NaN is refused, though no comparison would catch it.",
    21: "A threshold outside 0 to 1 is refused; one that looks like percent with the fraction meant.",
    22: "A limit in seconds that is negative, NaN or a bool is refused.",
    23: "An unknown backend is refused with the near match, or the list of what there is.",
    24: "A backend that cannot run here is refused with the reason, the remedy and where it came from.",
    25: "An unknown policy is refused as an unknown backend is.",
    26: "A name whose plugin is blocked is refused with the variable that blocks it.",
    27: "A name that two plugins announce is refused with both, and how to end it.",
    28: "An unknown key in the file is refused with line and near match.",
    29: "A value of the wrong type in the file is refused with line, key and value.",
    30: "A file that cannot be read, decoded or parsed is refused with its path and the place in it.",
}

FUNCTIONS = {
    31: "What cannot be called is refused with its type.",
    32: "A class is refused: an instance is meant.",
    33: "Coroutine and generator functions are refused, behind a partial too.",
    34: "What is wrapped already is refused, with how to change its options.",
}

LEAVES = {
    35: "A generator among the arguments is refused before anything is taken from it.",
    36: (
        "Text and bytes go whole to every ubatch; alone they are nothing to split, and declared they "
        "are refused."
    ),
    37: "A 0-dimensional array goes whole to every ubatch, and is refused where a rule says it has rows.",
    38: "A list of plain values goes whole to every ubatch unless a rule says that it has an entry per row.",
    39: "Keys may be of any kind; a tree that contains itself or is nested too deep to walk is refused.",
    40: (
        "The lists in a list may differ in length: declared, each is a row, and undeclared the list "
        "stays whole."
    ),
    41: (
        "Sparse, nested and quantised arrays are refused with what to pass; objects, records and "
        "masks are cut."
    ),
    42: (
        "A function that writes into rows that are one and the same memory is warned of, once, with "
        "the argument."
    ),
    43: "A single row beside many is refused, with how to say that all rows share it.",
    44: "Arrays in any memory order are cut as views.",
    45: "Arrays on two devices are refused with both names and both devices.",
    46: "Arrays of a framework that the step's backend cannot use are refused with both.",
    47: (
        "An input that wants its gradient gets the plain call's; a result written into `out` cannot, "
        "and says so."
    ),
    48: (
        "An axis that the array has not is refused with how many it has; a negative one counts from the last."
    ),
    49: "Totals that do not fit 32-bit offsets are refused with the total.",
}

POLICIES = {
    50: "A policy that answers no Proposal is refused with its name, its distribution and the answer.",
    51: "A limit that is no whole number from 1 on is refused, never put right on the quiet.",
    52: "What a policy raises is the cause of an error that names the policy and the method.",
    53: "After running out of memory sizes halve whatever the policy says, down to one row.",
    54: "A hook with an unknown name or argument is told when it is registered, with its plugin.",
    55: "A backend that lacks a method is refused with the method and the protocol.",
}

OUTPUTS = {
    56: "Outputs of different structure are refused with both structures and both ubatches.",
    57: "An output with another number of rows than its input is refused with both numbers.",
    58: "Outputs of different dtype or device are refused with both.",
    59: "An output that is None for some ubatches only is refused.",
    60: "A constant that differs between ubatches is refused with both values.",
}

LIFE = {
    61: "A yield outside a step does nothing.",
    62: "A yield from a thread that carries the context of a ubatch and not its turn is refused.",
    63: "A call after shutdown is refused; one in a forked child or at exit runs, with threads of its own.",
    64: "A wrapper may be called inside its own step, and inside another's.",
    65: "A history that cannot be used is one warning, and sizes are learned anew.",
}

BAD_INPUTS: Mapping[int, str] = MappingProxyType(
    {**BATCH, **SLICES, **OPTIONS, **FUNCTIONS, **LEAVES, **POLICIES, **OUTPUTS, **LIFE}
)
"""What the user gets, by number."""
