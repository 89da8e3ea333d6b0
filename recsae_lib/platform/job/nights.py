"""Which locks a job holds: of the namespaces that it writes, and of those that it reads (`storage.locks`)."""

from __future__ import annotations

from contextlib import AbstractContextManager

from recsae_lib.config import Scope
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.holding import Mode
from recsae_lib.platform.storage.locks import hold_night, run_name


def writes_data(job: str) -> bool:
    """Whether a job writes tables that all models on the same data share, by the tables' declarations."""
    from recsae_lib.platform.warehouse.tables import TABLES  # pyspark takes its time to be imported

    shared: Scope = "data"
    return any(table.writer == job and table.scope == shared for table in TABLES.values())


def modes_of(context: JobContext, data: Mode) -> dict[str, Mode]:
    """What a job needs of each namespace.

    Those of its model and of its sites it has alone, also where it writes no table there: a training registers models
    under their names.

    Parameters
    ----------
    data : what it needs of the namespace of the data, which other models share.
    """
    settings = context.settings
    sites = [settings.namespaces(site) for site in settings.representations.sites]
    own = {namespaces[scope] for namespaces in sites for scope in ("model", "audit")}
    return {context.namespaces["data"]: data, **dict.fromkeys(own, "write")}


def hold_tables(context: JobContext, data: Mode) -> AbstractContextManager[None]:
    """Hold what `modes_of` says, for this run; `context.fence` knows it meanwhile.

    Two models of one run, in the scheduler's words, are two runs here: they share the data of a date only for reading.

    Raises
    ------
    PassingError : another run holds some of it; or the storage of the locks does not answer.
    """
    run = f"{run_name()} for {context.namespaces['model']}"
    locks = context.settings.paths.locks_folder
    return hold_night(locks, modes_of(context, data), context.dt, run, context.shared.fence)
