"""`python -m microbatch`: the same as the command `microbatch`."""

from __future__ import annotations

import sys

from microbatch.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
