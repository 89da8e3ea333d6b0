"""What becomes of a failure: an outcome, a line for people, and the exit code of the process."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Sequence

from recsae_lib.errors import CheckError, InputError, PassingError, StoppedError, UnfinishedError, lost_connection
from recsae_lib.platform.job.log import log_to_stderr
from recsae_lib.platform.job.record import Outcome
from recsae_lib.redaction import redacted

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_STOPPED, EXIT_UNFINISHED = 1, 2, 3, 4, 5

_OUTCOMES: Sequence[tuple[type[BaseException], Outcome]] = (
    (InputError, "bad input"),
    (CheckError, "check failed"),
    (StoppedError, "stopped"),
    (UnfinishedError, "unfinished"),
)

# What Spark and the file systems say of bad input, as (pattern, remedy).
_SPARK_FAULTS: Sequence[tuple[str, str]] = (
    (r"(\S+) is not a Parquet file[^\n]*", "Replace the file, or leave it out"),
    (r"Could not read footer for file[^\n]*", "Replace the file, or leave it out"),
    (
        r"(?:java\.io\.FileNotFoundException|AccessControlException|AccessDeniedException)[^\n]*",
        "Check the path and its permissions",
    ),
    (r"Mkdirs failed to create[^\n]*", "Check that the folder may be written"),
    (
        r"\[(?:PATH_NOT_FOUND|TABLE_OR_VIEW_NOT_FOUND|UNRESOLVED_COLUMN[^\]]*|PARSE_SYNTAX_ERROR)\][^\n]*",
        "Check the name",
    ),
    (r"No space left on device|database or disk is full", "Free some space under paths.var"),
)

# Spark runs the tasks of a lost executor again, up to a point; rows of `frames.keep` are gone with it.
_LOST_EXECUTOR = re.compile(r"Checkpoint block \S+ not found|ExecutorLostFailure")


def guarded(action: Callable[[], object], show_traceback: bool = False, log_format: str = "text") -> int:
    """Run `action`; return 0, 1 (a fault of the program, or something that passes), 2 (bad input), 3 (a check
    failed), 4 (stopped by a signal) or 5 (not finished yet).

    What it raises becomes one line on standard error.
    """
    log_to_stderr(log_format)
    try:
        action()
    except CheckError as failure:
        _say(f"recsae: {failure}")
        return EXIT_CHECK_FAILED
    except StoppedError as stopped:
        _say(f"recsae: {stopped}; its state is saved, start again to go on")
        return EXIT_STOPPED
    except UnfinishedError as unfinished:
        _say(f"recsae: not finished yet: {unfinished}; collect again later")
        return EXIT_UNFINISHED
    except KeyboardInterrupt:
        print("recsae: interrupted; what was finished stays, start again to go on", file=sys.stderr)
        return EXIT_FAILED
    except Exception as failure:
        if show_traceback:
            _say(traceback.format_exc().rstrip())
        line, passing_line = bad_input(failure), passing(failure)
        if line is None and passing_line is None and not show_traceback:
            _say(traceback.format_exc().rstrip())
        _say(f"recsae: {line or passing_line or f'{type(failure).__name__}: failed, see above'}")
        return EXIT_FAILED if line is None else EXIT_BAD_INPUT
    return 0


def _say(text: str) -> None:
    print(redacted(text), file=sys.stderr)


def outcome_of(ending: BaseException) -> Outcome:
    """Name how a job ended that did not end well."""
    for kind, outcome in _OUTCOMES:
        if isinstance(ending, kind):
            return outcome
    return "failed" if bad_input(ending) is None else "bad input"


def passing(failure: BaseException) -> str | None:
    """Return the line for what passes by itself; None where that is not what happened.

    The JVM under this process is no server: where it was lost, `guarded` shows the traceback.
    """
    if isinstance(failure, PassingError):
        return str(failure)
    if type(failure).__module__.startswith("py4j") and "Network" in type(failure).__name__:
        return None
    if match := _LOST_EXECUTOR.search(str(failure)):
        return (
            f"Executors were lost with what they kept for the job ({match.group(0)}). Run again; if it happens each "
            "time, see why they end: their memory (spark.executor.memory), or a cluster that takes them away."
        )
    if (said := lost_connection(failure)) is None:
        return None
    return f"A server that the job needs does not answer: {said.rstrip('.')}. See to it, then run again."


def bad_input(failure: BaseException) -> str | None:
    """Return the line that explains a failure that a person can mend; None for a fault of the program.

    Errors that were raised in a Python worker or in the JVM arrive as text inside another exception.
    """
    if isinstance(failure, InputError):
        return str(failure)
    if isinstance(failure, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return f"{failure.strerror}: {failure.filename}. Check the path and its permissions."
    text = str(failure)
    if match := re.search(r"InputError: ([^\n]+)", text):
        return match.group(1).strip()
    for pattern, remedy in _SPARK_FAULTS:
        if match := re.search(pattern, text):
            return f"{match.group(0).strip().rstrip('.')}. {remedy}."
    return None
