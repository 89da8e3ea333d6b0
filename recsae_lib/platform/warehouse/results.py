"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fail", "warn", "retrain"]


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Parameters
    ----------
    table : name of the table that was checked.
    name : what must hold, as a sentence.
    severity : ``fail`` keeps the audit from being published, ``warn`` does not; ``retrain`` does not either, and says
        that the SAE should be trained anew.
    violations : rows (or units, or 1 for a limit) that break it; 0 where it holds.
    detail : the figures behind it.
    """

    table: str
    name: str
    severity: Severity
    violations: int
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing violates the check."""
        return self.violations == 0

    def line(self) -> str:
        """Return the result as one line for people."""
        verdict = "ok" if self.passed else f"{self.severity.upper()} ({self.violations} violations)"
        return f"{verdict}: {self.table}: {self.name}{f' [{self.detail}]' if self.detail else ''}"
