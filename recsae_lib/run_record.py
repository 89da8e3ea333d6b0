"""What has been done of one audit: a JSON file under ``var/runs``, so that a killed audit goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path

from recsae_lib import __version__
from recsae_lib.config import Settings


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
        path = Path(settings.paths.var) / "runs" / settings.namespace / f"{dt.isoformat()}.json"
        fresh = cls(path, settings.digest(), code_version(), datetime.now(timezone.utc).isoformat(timespec="seconds"))
        if not path.is_file():
            return fresh
        try:
            kept = cls(path, **json.loads(path.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError):
            return fresh  # a record of another release; its jobs run again, which changes nothing
        same = (kept.config_digest, kept.code_version) == (fresh.config_digest, fresh.code_version)
        return kept if same and not kept.finished else fresh

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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        beside = self.path.with_suffix(".writing")
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(beside, self.path)


def code_version() -> str:
    """Version of the package, with the commit where it runs from a checkout."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    # An installed package may lie in an environment inside somebody else's repository.
    if shutil.which("git") is None or git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
        return __version__
    return f"{__version__}+{git('describe', '--always', '--dirty', '--abbrev=12').stdout.strip()}"
