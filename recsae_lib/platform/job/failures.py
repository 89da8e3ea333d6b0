"""What becomes of a failure: an outcome, a line for people, and the exit code of the process."""

from __future__ import annotations

import errno
import os
import re
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from recsae_lib.errors import (
    CheckError,
    InputError,
    PassingError,
    StoppedError,
    UnfinishedError,
    lost_connection,
    refused_tls,
)
from recsae_lib.platform.job.log import log_to_stderr
from recsae_lib.platform.job.record import Outcome
from recsae_lib.platform.spark.read_errors import explained
from recsae_lib.printable import indented, say
from recsae_lib.redaction import redacted

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_STOPPED, EXIT_UNFINISHED = 1, 2, 3, 4, 5

_OUTCOMES: Sequence[tuple[type[BaseException], Outcome]] = (
    (InputError, "bad input"),
    (CheckError, "check failed"),
    (StoppedError, "stopped"),
    (UnfinishedError, "unfinished"),
)

# What Spark and the file systems say of bad input beside what `read_errors` knows, as (pattern, remedy).
_SPARK_FAULTS: Sequence[tuple[str, str]] = (
    (r"Mkdirs failed to create[^\n]*", "Check that the folder may be written"),
    (
        r"\[(?:TABLE_OR_VIEW_NOT_FOUND|UNRESOLVED_COLUMN[^\]]*|PARSE_SYNTAX_ERROR)\][^\n]*",
        "Check the name",
    ),
    (
        r"(?:attempt to write a readonly database|unable to open database file)[^\n]*",
        "Check that the folders of paths.var and paths.tracking_uri may be written",
    ),
    (r"Failed to create [^\n]*local dir[^\n]*", "Set TMPDIR, or spark.local.dir, to a folder that may be written"),
    (
        r"[^\n]*(?:Malformed input or input contains unmappable characters|surrogates not allowed)[^\n]*",
        "The locale knows no such characters: start it with LC_ALL=C.UTF-8",
    ),
    (
        r"Java gateway process exited before[^\n]*",
        "The lines above say why Spark's Java did not start: often spark.driver.memory, other Java options, or no room "
        "in its temporary folder",
    ),
)
_FULL_DISK = re.compile(r"No space left on device|database or disk is full|No usable temporary directory found[^\n]*")
_TLS_REMEDY = (
    "Give the certificate of its authority: SSL_CERT_FILE, REQUESTS_CA_BUNDLE (MLflow), AWS_CA_BUNDLE (S3), "
    "javax.net.ssl.trustStore of spark.driver.extraJavaOptions (Spark); or see whether the address is one of https"
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
        _say("recsae: interrupted; what was finished stays, start again to go on")
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
    say(indented(redacted(text)), to_stderr=True)


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
    if refused_tls(failure) is not None:
        return None
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
    return f"A server or database that the job needs does not answer: {said.rstrip('.')}. See to it, then run again."


def bad_input(failure: BaseException) -> str | None:
    """Return the line that explains a failure that a person can mend; None for a fault of the program.

    Errors that were raised in a Python worker or in the JVM arrive as text inside another exception.
    """
    if (said := refused_tls(failure)) is not None:
        cause = failure.cause if isinstance(failure, InputError | PassingError) else f"No trusted connection: {said}"
        return str(InputError(cause, _TLS_REMEDY))
    if isinstance(failure, InputError):
        return str(failure)
    text = str(failure)
    if match := _FULL_DISK.search(text):
        return f"{match.group(0)}. {_free_space()}."
    if isinstance(failure, OSError) and failure.errno == errno.EROFS:
        return (
            f"{failure.strerror}: {failure.filename}. Run it in a folder that may be written, or set paths.var, "
            "paths.bulk, paths.tracking_uri and paths.artifacts to one."
        )
    if isinstance(failure, UnicodeEncodeError):
        return f"{failure.object!r} cannot be a path here: {failure.reason}. Start it with LC_ALL=C.UTF-8."
    if isinstance(failure, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return f"{failure.strerror}: {failure.filename}. Check the path and its permissions."
    if match := re.search(r"InputError: ([^\n]+)", text):
        return match.group(1).strip()
    if unreadable := explained(failure):
        return str(unreadable)
    for pattern, remedy in _SPARK_FAULTS:
        if match := re.search(pattern, text):
            return f"{match.group(0).strip().rstrip('.')}. {remedy}."
    return None


def _free_space() -> str:
    """Say what room there is where a run writes: an error of a full disk does not name the disk."""
    folders = {
        "TMPDIR": os.environ.get("TMPDIR") or "/tmp",
        "SPARK_LOCAL_DIRS, else spark.local.dir": os.environ.get("SPARK_LOCAL_DIRS", "/tmp").partition(",")[0],
        "the working directory, with var": ".",
    }
    room = [
        f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB are left in {folder} ({what})"
        for what, folder in folders.items()
        if Path(folder).is_dir()
    ]
    return f"Free some space, or name other folders: {'; '.join(room)}"
