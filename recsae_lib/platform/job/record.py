"""What has been done of one audit: a JSON file under ``var/runs``, so that a killed audit goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path

from recsae_lib.config import DEFAULT_SITE, Settings
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.storage.files import write_whole


@dataclass
class RunRecord:
    """The jobs of one namespace and date that are done, and under which settings, code and data.

    Parameters
    ----------
    path : file of the record; replaced as a whole at every change.
    config_digest, code_version : under which the jobs ran.
    started_at : when the first job started, ISO 8601 in UTC.
    data_digest : digest of the ingested tables; None before ingestion.
    done : seconds that each finished job took.
    finished : whether the audit was published.
    """

    path: Path
    config_digest: str
    code_version: str
    started_at: str
    data_digest: str | None = None
    done: dict[str, float] = field(default_factory=dict)
    finished: bool = False

    @classmethod
    def open(cls, settings: Settings, dt: date) -> RunRecord:
        """Go on with the unfinished record of this date if settings and code are the same; else begin a new one."""
        kept = cls.read(settings, dt)
        if kept is not None and not kept.finished:
            return kept
        started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(cls._path(settings, dt), settings.digest(), code_version(), started_at)

    @classmethod
    def read(cls, settings: Settings, dt: date) -> RunRecord | None:
        """Read the record of this date; None where there is none of the same settings and code."""
        path = cls._path(settings, dt)
        if not path.is_file():
            return None
        try:
            kept = cls(path, **json.loads(path.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError):
            return None  # a record of another release; its jobs run again, which changes nothing
        return kept if (kept.config_digest, kept.code_version) == (settings.digest(), code_version()) else None

    @classmethod
    def is_finished(cls, settings: Settings, dt: date, data_digest: str | None = None) -> bool:
        """Whether the audit of this date was published under the same settings and code (and data, where given)."""
        kept = cls.read(settings, dt)
        return kept is not None and kept.finished and data_digest in (None, kept.data_digest)

    @staticmethod
    def _path(settings: Settings, dt: date) -> Path:
        model = settings.namespaces(DEFAULT_SITE)["model"]
        return Path(settings.paths.var) / "runs" / model / f"{dt.isoformat()}.json"

    def finish_job(self, job: str, seconds: float) -> None:
        """Note that a job is done; what it wrote is committed."""
        self.done[job] = round(seconds, 3)
        self._save()

    def note_data(self, digest: str) -> None:
        """Note the digest of the ingested data; other data than before makes every later job run again."""
        if self.data_digest not in (None, digest):
            self.done.clear()
        self.data_digest = digest
        self._save()

    def finish(self) -> None:
        """Note that the audit is published."""
        self.finished = True
        self._save()

    def _save(self) -> None:
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        write_whole(self.path, json.dumps(content, indent=1).encode())
