"""What a doctor says: sentences, each with its evidence and what to do.

Invariant: texts only; it prints as text, and as a table in a notebook.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing was found that kept ubatches from overlapping"
"""What is said where no cause was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause."""

    cause: str
    """A name of two or three words; it stays."""
    text: str
    """What is so, as a sentence."""
    evidence: str
    """What was measured."""
    remedy: str
    """What to do."""
    function: str = ""
    """Which function; empty where there was one only."""

    def __str__(self) -> str:
        where = f"{self.function}: " if self.function else ""
        return f"{where}{self.text} ({self.evidence}); {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found; empty where nothing was."""

    findings: tuple[Finding, ...] = ()
    """Causes of no overlap first, then those of no gain."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(finding.cause for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(f"- {finding}" for finding in self.findings) or NOTHING

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from html import escape

        if not self.findings:
            return f"<p>{NOTHING}</p>"
        columns = ("function", "cause", "text", "evidence", "remedy")
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        cells = ["".join(f"<td>{escape(text)}</td>" for text in row[1:]) for row in rows]
        names = [f"<th>{escape(' '.join(filter(None, row[:1])))}</th>" for row in rows]
        body = "".join(f"<tr>{name}{line}</tr>" for name, line in zip(names, cells, strict=True))
        heads = "".join(
            f"<th>{title}</th>" for title in ("", "cause", "what is so", "evidence", "what to do")
        )
        return f"<table><tr>{heads}</tr>{body}</table>"
