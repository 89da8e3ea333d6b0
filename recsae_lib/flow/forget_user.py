"""`recsae forget-user`: one user out of the tables and representations of an application, with proof."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from recsae_lib.errors import InputError
from recsae_lib.explorer.site import pages_of, remove_pages, write_list_of_pages
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.holding import Mode
from recsae_lib.platform.storage.locks import hold_night, run_name
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.tracking.version_tags import FILES_TAG
from recsae_lib.platform.warehouse.forgetting import (
    Copies,
    copy_snapshots,
    drop_history,
    move_references,
    name_copies,
    published_snapshots,
    tells_in_lists,
)
from recsae_lib.platform.warehouse.migration import existing_tables, require_migrated
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.references import branch_date
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_TABLES, AUDITS, Table
from recsae_lib.platform.warehouse.tables.users import UserColumn, tables_with_users, unclassified
from recsae_lib.platform.warehouse.traces import application_namespaces, remove_unknown, rows_in_file, traces
from recsae_lib.recommenders.vocabulary import FILES
from recsae_lib.representations.forgetting import remove_from_bulk, rows_in_bulk

# What the command does not look into, and what to do about it.
NOT_COVERED = (
    "The raw data and your own tables: take the user out there first, or the next ingestion brings the user back",
    "Files of MLflow beside the registered recommenders: delete run and logged model of deleted versions as well; what "
    "they leave goes by `mlflow gc`",
    "Versions of SAEs in MLflow: dictionaries/random_user-1 to -3 hold directions of single users' representations, "
    "without ids. Run train_sae again and delete the versions of before",
    "Ledgers of language models (<var>/llm, paths.llm) and requests in <var>/work: they hold no ids of users, but the "
    "cases of a judge hold item titles of single users under numbers. Delete <var>/work; delete the ledger if that "
    "matters: what it holds is then paid for again",
    "Older versions of objects in S3, snapshots of disks and backups: end their retention",
    "Exports, logs and reports that people made from the tables",
)


@dataclass(frozen=True)
class Place:
    """What became of one place.

    Parameters
    ----------
    place : full name of a table; the representations of a model; or a version of a recommender, whose weights hold a
        vector of each user that its vocabulary names.
    removed : rows of the user, each data file counted once; of a dry run: that would go.
    found : rows of the user in all files afterwards, and entries of lists of files that name the user.
    """

    place: str
    removed: int
    found: int


@dataclass(frozen=True)
class Forgotten:
    """The proof.

    Parameters
    ----------
    user_sha256 : of the id, which itself must not stay here either. Who has the id can compare.
    places : that were cleaned and then searched.
    unclassified : columns that people added, of which nobody knows whether they name users; they were not searched.
    not_covered : places that were not looked into, with what to do.
    """

    user_sha256: str
    places: list[Place]
    unclassified: list[str]
    not_covered: tuple[str, ...] = NOT_COVERED

    @property
    def found(self) -> int:
        """What is left."""
        return sum(place.found for place in self.places)


def forget_user(context: JobContext, user: str, dry_run: bool) -> tuple[Forgotten, Path | None]:
    """Take a user out of all tables of the application and of its representations, then look for what is left.

    Once more after a kill goes on where that stopped. Readers see whole audits all the time; queries that began before
    may fail, as the files that they read are gone.

    Returns
    -------
    Forgotten, Path : what was done and found, and the report that says so; None of a dry run.

    Raises
    ------
    InputError : no id was given; or tables are of an earlier version.
    PassingError : a run is under way on a night of the application.
    """
    if not user.strip():
        raise InputError("The id of the user is empty", "Give it with --user, as it stands in the table interactions")
    namespaces = application_namespaces(context.warehouse)
    warehouses = [_within(context, namespace) for namespace in namespaces]
    if dry_run:
        return _search(context, warehouses, user, removed=None), None
    with _alone(context, warehouses):
        require_migrated(warehouses)
        removed = _forget_in_tables(warehouses, user)
        for namespace in namespaces:
            name = f"recommender-{namespace}"
            removed[_bulk(name)] = remove_from_bulk(context.settings.paths.bulk, name, user)
            removed[_pages(namespace)] = _remove_pages(context, namespace)
        forgotten = _search(context, warehouses, user, removed)
    now = datetime.now(timezone.utc)  # of a second run another report: what the first one removed stays on record
    name = f"forgotten-{forgotten.user_sha256[:16]}-{now:%Y%m%dT%H%M%S}.json"
    content = json.dumps(asdict(forgotten), indent=1).encode()
    return forgotten, write_report(context.settings.paths, context.namespaces["data"], context.dt, name, content)


def _within(context: JobContext, namespace: str) -> Warehouse:
    """All tables that one namespace has, whatever their scope."""
    scopes = dict.fromkeys(context.namespaces, namespace)
    return Warehouse(context.spark, context.settings.catalog, scopes, context.dt, locks=context.shared.fence)


@contextmanager
def _alone(context: JobContext, warehouses: list[Warehouse]) -> Iterator[None]:
    """Hold all nights that the tables know, and the one of today."""
    dates: set[date] = {context.dt}
    for warehouse in warehouses:
        dates |= {publication.dt for publication in publications(warehouse)}
        for table in AUDIT_TABLES:
            dates |= {dt for name in warehouse.references(table) if (dt := branch_date(name)) is not None}
    locks = context.settings.paths.locks_folder
    modes: dict[str, Mode] = {warehouse.namespaces["data"]: "write" for warehouse in warehouses}
    with ExitStack() as held:
        for dt in sorted(dates):
            held.enter_context(hold_night(locks, modes, dt, f"{run_name()} forgets a user", context.shared.fence))
        yield


def _forget_in_tables(warehouses: list[Warehouse], user: str) -> dict[str, int]:
    """Copy, name the copies, move references, drop the rest; returns the rows that went, by table."""
    begun, removed, copies = int(time.time() * 1000), dict[str, int](), Copies()
    published, found = published_snapshots(warehouses), _tables(warehouses)
    for warehouse, table, column in found:
        erased = copy_snapshots(warehouse, table, column, user, published)
        removed[warehouse.full_name(table)] = erased.rows
        copies |= erased.copies
    for warehouse in warehouses:
        if warehouse.exists(AUDITS):
            name_copies(warehouse, copies)
    published = published_snapshots(warehouses)
    for warehouse, table, column in found:
        move_references(warehouse, table)
        drop_history(warehouse, table, published)
        remove_unknown(warehouse, table, traces(warehouse, table, column, user), begun)
    return removed


def _search(context: JobContext, warehouses: list[Warehouse], user: str, removed: dict[str, int] | None) -> Forgotten:
    """Look into all data files and lists of files of the tables, and into the representations.

    Parameters
    ----------
    removed : rows that went, by place; None of a dry run: what is found would go.
    """
    places = []
    for warehouse, table, column in _tables(warehouses):
        name, rows = warehouse.full_name(table), sum(t.rows for t in traces(warehouse, table, column, user))
        left = rows + tells_in_lists(warehouse, table, column, user, None)
        places.append(Place(name, rows, 0) if removed is None else Place(name, removed[name], left))
    for warehouse in warehouses:
        name = f"recommender-{warehouse.namespaces['model']}"
        rows = sum(rows_in_bulk(context.settings.paths.bulk, name, user).values())
        counted = (rows, 0) if removed is None else (removed[_bulk(name)], rows)
        places += [Place(_bulk(name), *counted), *_versions_with(context, name, user)]
        namespace = warehouse.namespaces["model"]
        if (pages := len(pages_of(context.settings.paths, namespace))) or (removed or {}).get(_pages(namespace)):
            places.append(
                Place(_pages(namespace), *((pages, 0) if removed is None else (removed[_pages(namespace)], pages)))
            )
    unknown = [
        f"{warehouse.full_name(table)}.{column}"
        for warehouse, table in existing_tables(warehouses)
        for column in unclassified(table, warehouse.columns(table))
    ]
    if removed is not None:  # the cache of MLflow's files; a version that is there still is fetched again when needed
        for vocabulary in context.registry.cache.glob(f"*/{FILES['user']}"):
            if rows_in_file(str(vocabulary), UserColumn("user_id"), user):
                shutil.rmtree(vocabulary.parent)
    return Forgotten(hashlib.sha256(user.encode()).hexdigest(), places, unknown)


def _versions_with(context: JobContext, recommender: str, user: str) -> Iterator[Place]:
    """Registered versions that know the user. They cannot be changed: the files would not be those that they state."""
    for version in context.registry.versions(recommender):
        if FILES["user"] in version.tags.get(FILES_TAG, FILES["user"]):  # of an earlier release nobody knows
            vocabulary = context.registry.fetch(recommender, version.number) / FILES["user"]
            if vocabulary.is_file() and (rows := rows_in_file(str(vocabulary), UserColumn("user_id"), user)):
                yield Place(f"{recommender} version {version.number} in MLflow", 0, rows)


def _tables(warehouses: list[Warehouse]) -> list[tuple[Warehouse, Table, UserColumn]]:
    """The tables with users that exist."""
    return [(w, table, column) for w in warehouses for table, column in tables_with_users() if w.exists(table)]


def _remove_pages(context: JobContext, namespace: str) -> int:
    """Remove all pages of a namespace: the user may be in a sample that they show, without an id."""
    paths = context.settings.paths
    if dates := pages_of(paths, namespace):
        remove_pages(paths, namespace, dates)
        write_list_of_pages(paths)
    return len(dates)


def _pages(namespace: str) -> str:
    """Pages of audits, which show samples of users: all go, and `recsae explore` writes them again."""
    return f"pages of {namespace}"


def _bulk(model: str) -> str:
    return f"representations of {model}"
