"""What jobs and commands say while they run, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

from recsae_lib.printable import indented, printable
from recsae_lib.redaction import redacted

JOB_RECORD = "job_record"  # attribute of the log record that tells of a job's end

log = logging.getLogger("recsae")


class JsonLines(logging.Formatter):
    """Log records as JSON objects: time (ISO 8601, UTC), level, message; of a job's end also all of `JobRecord`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        content = {"time": time, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return printable(redacted(json.dumps({**content, **getattr(record, JOB_RECORD, {})}, ensure_ascii=False)))


class TextLines(logging.Formatter):
    """Log records as text: time and message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, and the traceback where there is one."""
        return indented(redacted(super().format(record)))


def log_to_stderr(log_format: str) -> None:
    """Send warnings of all libraries, and what `log` says, to standard error: as text, or as `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
