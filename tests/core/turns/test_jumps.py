"""An interrupt between two rounds of a loop is caught by what stands around the loop.

Python 3.12 and 3.13 leave some jumps back out of the `try` or `with` that the loop is in, and an interrupt
strikes at jumps back. Such a loop belongs in a function of its own. Python 3.11 does it right.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import CodeType

import microbatch
import microbatch_backends
import microbatch_policies

PACKAGES = (microbatch, microbatch_backends, microbatch_policies)
ROOTS = [Path(str(package.__file__)).parent for package in PACKAGES]


def functions(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from functions(constant)


def unguarded_jumps(code: CodeType) -> list[str]:
    """The lines of `code` whose loop is in a `try` or `with` that does not guard the jump back."""
    bytecode = dis.Bytecode(code)
    instructions = list(bytecode)
    handlers = {each.offset for each in instructions if each.opname == "PUSH_EXC_INFO"}

    def handler(offset: int) -> int | None:
        entries = (entry for entry in bytecode.exception_entries if entry.start <= offset < entry.end)
        return next((entry.target for entry in entries if entry.target in handlers), None)

    return [
        f"{code.co_filename}:{jump.positions.lineno} in {code.co_qualname}"
        for before, jump in pairwise(instructions)
        if jump.opname.startswith("JUMP_BACKWARD")
        and not jump.opname.endswith("NO_INTERRUPT")  # `yield from`
        and handler(before.offset) == handler(jump.argval) != handler(jump.offset)
    ]


def test_every_loop_is_guarded_to_its_end() -> None:
    """`testing` is left out: its loops end with the test run."""
    everything = [(source, source.relative_to(root)) for root in ROOTS for source in root.rglob("*.py")]
    sources = [source for source, inside in everything if "testing" not in inside.parts]
    assert len(sources) > 100
    found = [
        jump
        for source in sources
        for code in functions(compile(source.read_text(encoding="utf-8"), str(source), "exec"))
        for jump in unguarded_jumps(code)
    ]
    assert not found, "\n".join(["give each of these loops a function of its own:", *found])
