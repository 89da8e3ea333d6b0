"""Endings that are no faults of the program, each with its exit code (`job.guarded`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recsae_lib.redaction import redacted

# What libraries call a server that does not answer: Python, requests, urllib3, botocore and aiohttp, each its own.
_LOST_CONNECTIONS = {
    *("ConnectionError", "Timeout", "MaxRetryError", "EndpointConnectionError", "ClientConnectionError"),
    *("ConnectTimeoutError", "ReadTimeoutError"),
}
# The same where it arrives as text, from the JVM or a Python worker; and SQLite, which has one writer at a time.
_LOST_IN_TEXT = re.compile(
    r"(?:java\.net\.(?:\w*ConnectException|UnknownHostException|NoRouteToHostException|SocketTimeoutException)"
    r"|EndpointConnectionError|ConnectTimeoutError|ConnectionRefusedError|database (?:table )?is locked)[^\n]*"
)
# What OpenSSL, the JVM and requests say where a connection cannot be trusted, or is none of TLS. It does not pass.
_REFUSED_TLS = re.compile(
    r"(?:CERTIFICATE_VERIFY_FAILED|certificate verify failed|WRONG_VERSION_NUMBER|wrong version number"
    r"|PKIX path building failed|javax\.net\.ssl\.SSLHandshakeException|Unsupported or unrecognized SSL message"
    r"|Could not find a suitable TLS CA certificate bundle)[^\n]*"
)


class _ExplainedError(Exception):
    """An error whose text says all that a person needs, and no secret.

    Parameters
    ----------
    cause : one sentence that says what is wrong and where.
    remedy : one sentence that says what to do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause, self.remedy = redacted(cause), redacted(remedy)
        super().__init__(f"{self.cause.rstrip('.')}. {self.remedy.rstrip('.')}.")


class InputError(_ExplainedError):
    """Something a person can mend: a setting, a file, a missing partition. Exit code 2."""


class PassingError(_ExplainedError):
    """What passes by itself: a server that does not answer, a night that another run works on. Exit code 1, so that a
    scheduler tries again.
    """


class CheckError(Exception):
    """A ``fail`` check refused an audit: it stays on its branch, main keeps the last good one. Exit code 3."""


class StoppedError(Exception):
    """A signal ended the job between two steps: its state is saved, and starting it again goes on. Exit code 4."""


class UnfinishedError(Exception):
    """What was submitted is still being worked on elsewhere: look again later. Exit code 5."""


def lost_connection(failure: BaseException) -> str | None:
    """Return what says that a server did not answer, or that a database is locked by others, in an error or in what
    caused it; None where nothing does.
    """
    if refused_tls(failure) is not None:  # libraries call that a lost connection too
        return None
    for error in _with_causes(failure):
        if any(kind.__name__ in _LOST_CONNECTIONS for kind in type(error).__mro__):
            return str(error).split("\n")[0] or type(error).__name__
        if match := _LOST_IN_TEXT.search(str(error)):
            return match.group(0).strip()
    return None


def refused_tls(failure: BaseException) -> str | None:
    """Return what says that a server's certificate is not trusted, or that it speaks no TLS; None if nothing does."""
    found = (_REFUSED_TLS.search(str(error)) for error in _with_causes(failure))
    return next((match.group(0).strip() for match in found if match), None)


def _with_causes(failure: BaseException) -> Iterator[BaseException]:
    error: BaseException | None = failure
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
