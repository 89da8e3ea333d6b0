"""Where representations lie in the bulk folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import fsspec

from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext

RowKind = Literal["last", "training", "dev", "test"]
COMPLETE_MARKER = "_SUCCESS"


@dataclass(frozen=True)
class RepresentationSet:
    """The representations of one model version at one probing site, extracted for one date.

    Parameters
    ----------
    bulk : folder or address of the bulk files (``paths.bulk``).
    model, version : registered name and version of the recommender.
    site : probing site.
    rows : ``last``, one row a user (what is audited); ``training``, sampled positions (what the SAE learns from);
        ``dev`` and ``test``, users with their held-out item (what measures fidelity).
    dt : date of the audit.
    """

    bulk: str
    model: str
    version: int
    site: str
    rows: RowKind
    dt: date

    @classmethod
    def of_context(cls, context: JobContext, rows: RowKind, site: str | None = None) -> RepresentationSet:
        """Return the set that a job reads or writes: of its recommender, date and (unless another is named) site."""
        bulk, version = context.settings.paths.bulk, context.model_version
        return cls(bulk, context.recommender_name, version, site or context.site, rows, context.dt)

    def __post_init__(self) -> None:
        if "/" in self.site:
            raise InputError(f"{self.site!r} is no name of a probing site", "`recsae sites` lists them")

    @property
    def path(self) -> str:
        """Folder of the set, in the partition notation that Spark and pyarrow read back as columns."""
        return f"{self._model_folder}/site={self.site}/rows={self.rows}/dt={self.dt.isoformat()}"

    def item_embeddings(self) -> str:
        """Folder of the item vectors that representations of this model version are held against."""
        return f"{self._model_folder}/item_embeddings/dt={self.dt.isoformat()}"

    def catalogue(self) -> str:
        """Folder of what is known of the items of this model version (`tuning.catalogue_rows`)."""
        return f"{self._model_folder}/catalogue/dt={self.dt.isoformat()}"

    def rejected(self, what: str) -> str:
        """Folder of the rows of your own tables that were refused, (id, reason)."""
        return f"{self._model_folder}/rejected_{what}/dt={self.dt.isoformat()}"

    def exists(self) -> bool:
        """Whether the set is there and complete: dev and test rows are written only where items can be scored."""
        file_system, root = fsspec.core.url_to_fs(self.path)
        file_system.invalidate_cache()  # object stores: an earlier listing in this process may be out of date
        return bool(file_system.exists(f"{root}/{COMPLETE_MARKER}"))

    def complete_dates(self) -> list[date]:
        """Dates of which such a set is there and complete, rising."""
        file_system, root = fsspec.core.url_to_fs(self.path.rpartition("/")[0])
        file_system.invalidate_cache()
        names = [entry.rstrip("/").rpartition("/")[2] for entry in _listed(file_system, root)]
        dates = [found for name in names if (found := _date(name.removeprefix("dt="))) is not None]
        return sorted(dt for dt in dates if replace(self, dt=dt).exists())

    def require(self) -> str:
        """Return `path`, if the set is complete.

        Raises
        ------
        InputError : the folder is missing, or a writer has not finished it.
        """
        if not self.exists():
            raise InputError(
                f"There are no complete representations in {self.path}",
                f"Run the job extract_representations for dt={self.dt.isoformat()}",
            )
        return self.path

    @property
    def _model_folder(self) -> str:
        return f"{self.bulk.rstrip('/')}/representations/model={self.model}/version={self.version}"


def remove_old_sets(bulk: str, model: str, first: date, is_free: Callable[[date], bool]) -> list[str]:
    """Remove what was extracted from a model for dates before `first`; returns the folders.

    Folders are listed down to the dates, never the files in them. Those of other names stay.

    Parameters
    ----------
    is_free : whether no audit of a date is under way, which would be reading its folders or writing to them.
    """
    file_system, root = fsspec.core.url_to_fs(f"{bulk.rstrip('/')}/representations/model={model}")
    file_system.invalidate_cache()
    removed = []
    waiting = [root] if file_system.exists(root) else []
    while waiting:
        for entry in file_system.ls(waiting.pop(), detail=True):
            if entry["type"] != "directory":
                continue
            folder = entry["name"].rstrip("/")
            key, _, value = folder.rpartition("/")[2].partition("=")
            if key != "dt":
                waiting.append(folder)
            elif (dt := _date(value)) is not None and dt < first and is_free(dt):
                file_system.rm(folder, recursive=True)
                removed.append(folder)
    return sorted(removed)


def _listed(file_system: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    """What lies in a folder; nothing where there is none."""
    try:
        return [str(name) for name in file_system.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
