"""`microbatch run` for programs.

Invariant: what the command does with the same input, output and options, without its process that watches,
its progress on the terminal, and its handling of signals.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from microbatch.files.sources import Wanted, open_rows
from microbatch.jobs.job import Job, Outputs, Plain, Task, text_if_changed
from microbatch.jobs.summary import Summary
from microbatch.jobs.targets import target_of
from microbatch.options.sources import resolve

Place = str | os.PathLike[str]
"""A path."""


def run_file(
    f: Callable[..., Any],
    input: Place | Sequence[Place],
    output: Place,
    *,
    columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    resume: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    no_clobber: bool = False,
    progress: Callable[[int, int], None] | None = None,
    arguments: Mapping[str, str] | None = None,
    **options: Any,
) -> Summary:
    """Run `f` on all rows of `input` and write what it returns to `output`; returns what the command prints.

    `input` is a file, several, a folder, or a pattern; its kinds and those of `output` are in docs/files.md.
    `columns` go to the parameters of their names, one alone by position; `keep` go to the output. With
    `resume=True` a run that was interrupted is gone on with, and an interrupted one can be; it is refused
    where the input, the file that `f` is written in, or `arguments` (whatever else decides what `f` returns)
    differ. `on_error="skip"` writes the rows that `f` raises for to OUTPUT.errors.jsonl and goes on.
    `progress(done, total)` is called as parts end; total is 0 where it is not known. `options` are those of a
    wrapper.

    Raises InputFileError, OutputFileError, ArgumentValueError and what `f` raises; the output is then as it
    was.
    """
    places = (input,) if isinstance(input, (str, os.PathLike)) else tuple(input)
    wanted = Wanted(places=tuple(map(Path, places)), columns=tuple(columns), keep=tuple(keep))
    target = target_of(f)
    resolve(target.config, **options)
    task = Task(
        wanted=wanted,
        output=Path(output),
        options=options,
        arguments=arguments or {},
        resume=resume,
        on_error=on_error,
        no_clobber=no_clobber,
    )
    task.check()
    around = Plain(progress)
    with ExitStack() as stack:
        outputs = Outputs(task, around, stack)
        source = open_rows(wanted)
        source.prepare(target.parameters)
        summary = Job(task, target, source, outputs, around).run()
        changed = text_if_changed(source.source, str(output))
        if changed:
            around.tell(changed)
        return summary
