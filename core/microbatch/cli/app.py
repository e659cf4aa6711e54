"""The command `microbatch`: where it starts, and which subcommands there are.

Invariant: next to nothing is imported before signals have handlers (2 ms), so Ctrl-C during the slow imports
(NumPy, the target) is no traceback; Python's own start, before that, is out of reach. What runs a function of
the user's does so in a process of its own, which is watched (`supervisor.py`). Called from Python, with
arguments, all is done in the calling process, and its signal handlers are left as they are.
"""

from __future__ import annotations

import sys
from types import MappingProxyType

from microbatch.cli.signals import end_quietly

TYPE_CHECKING = False  # of `typing`, which takes longer to import than all that is here
if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.cli.run_state import RunState

COMMANDS = MappingProxyType(
    {
        "run": "microbatch.cli.run:run",
        "check": "microbatch.cli.check:check",
        "tune": "microbatch.cli.tune:tune",
        "doctor": "microbatch.cli.doctor:doctor",
        "races": "microbatch.cli.races:races",
        "backends": "microbatch.cli.listings:backends",
        "policies": "microbatch.cli.listings:policies",
        "plugins": "microbatch.cli.listings:plugins",
        "new": "microbatch.cli.new:new",
        "config": "microbatch.cli.settings:config",
        "history": "microbatch.cli.history:history",
    }
)
"""Subcommand to the function that is it; its annotations are its options, its docstring is its help."""
WATCHED = ("run", "check", "tune", "doctor", "races")
"""Those that run a function of the user's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code, one of `exit_codes.py`; None is that of the process."""
    if arguments is not None:
        return _execute(list(arguments))
    end_quietly()
    from microbatch.cli.streams import repair_descriptors
    from microbatch.cli.supervisor import can_supervise, supervise

    repair_descriptors()
    words = sys.argv[1:]
    if words[:1] and words[0] in WATCHED and can_supervise():
        return supervise(lambda state: _to_the_end(words, state))
    return _to_the_end(words)


def _to_the_end(words: list[str], state: RunState | None = None) -> int:
    code = _execute(words, state)
    end_quietly(code)
    if state is not None:
        state.finish(code)
    return code


def _execute(words: list[str], state: RunState | None = None) -> int:
    from microbatch.cli.commands import execute

    return execute(words, COMMANDS, state)
