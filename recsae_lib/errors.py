"""The one exception that means "the input is wrong": cause and remedy, shown as a line, exit code 2."""

from __future__ import annotations


class InputError(Exception):
    """Something a person can mend: a setting, a file, a missing partition.

    Parameters
    ----------
    cause : one sentence that says what is wrong and where.
    remedy : one sentence that says what to do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause.rstrip('.')}. {remedy.rstrip('.')}.")
        self.cause = cause
        self.remedy = remedy


class CheckError(Exception):
    """A ``fail`` check refused an audit: it stays on its branch, main keeps the last good one. Exit code 3."""
