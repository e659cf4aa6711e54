"""Takes two files out of vLLM's wheel: `python fetch.py FOLDER`. The wheel is some hundred MB, and not kept.

None of its dependencies is downloaded, and nothing of it is installed or run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.33.0"
FILES = ("vllm/v1/worker/ubatching.py", "vllm/v1/worker/gpu/ubatch_utils.py")


def fetch(folder: Path) -> None:
    """Fill `folder`; nothing where it is filled already."""
    if all((folder / name).is_file() for name in FILES):
        return
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", place, f"vllm=={VERSION}"], check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, FILES)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
