"""Endings that are no faults of the program, each with its exit code (`job.guarded`)."""

from __future__ import annotations


class InputError(Exception):
    """Something a person can mend: a setting, a file, a missing partition. Exit code 2.

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


class StoppedError(Exception):
    """A signal ended the job between two steps: its state is saved, and starting it again goes on. Exit code 4."""


class UnfinishedError(Exception):
    """What was submitted is still being worked on elsewhere: look again later. Exit code 5."""
