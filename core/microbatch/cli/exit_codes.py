"""What the exit code of a command means; one table for the code, the help and the documents.

Invariant: a code says what became of the work, whatever could be said on the standard streams.
"""

from __future__ import annotations

DONE = 0
FAILED = 1
"""The function raised during `run`, `check` found that it must not be cut, or `races` found some."""
REFUSED = 2
UNHEARD = 3
"""Standard output was closed, full, or its reader gone."""
CHANGED = 4
"""The input became shorter while it was read."""
SIGNALLED = 128
"""Added to the number of the signal that ended the command, as shells do it."""

TABLE = """\b
Exit codes:
  0  done
  1  the function failed (run), must not be cut (check), or has
     work that nothing orders (races)
  2  wrong options, a damaged input, an output that cannot be written, or
     the function failed (check, tune, doctor, races)
  3  done, but standard output could not take all of the text
  4  the input was cut short while it was read
  128 + n  ended by signal n: 130 Ctrl-C, 137 killed, 139 a crash, 143 TERM
A run that ends with 1, 2 or 4 has written nothing; after a signal, the last
line on standard error says whether it has."""
"""For `--help`; the mark in front keeps its lines."""
