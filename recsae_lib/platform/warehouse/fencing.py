"""No commit of a run that has lost its lock: before each, a look at the lock, and at who wrote to the branch last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Protocol

from recsae_lib.errors import PassingError
from recsae_lib.platform.warehouse.commits import Answer
from recsae_lib.platform.warehouse.tables import Table

if TYPE_CHECKING:
    from recsae_lib.platform.warehouse.store import Warehouse

# Of a snapshot's summary:
AUDIT_PROPERTY = "recsae-audit"  # which audit wrote it
UPKEEP_PROPERTY = "recsae-upkeep"  # whether the upkeep did
RUN_PROPERTY = "recsae-run"  # the run whose lock its writer held
TOKEN_PROPERTY = "recsae-token"  # the token of that lock, which is greater each time that somebody takes it


class Writer(Protocol):
    """A lock that lets this process alone write the tables of a namespace and date."""

    @property
    def run(self) -> str:
        """The run that holds it."""

    @property
    def token(self) -> int:
        """A number that is greater each time that somebody takes the lock."""


class Locks(Protocol):
    """What this process holds at the moment."""

    def verify(self) -> None:
        """Raise PassingError where something that was held no longer is."""

    def writer(self, namespace: str, dt: date) -> Writer | None:
        """The lock by which this process may write the tables of a namespace and date alone."""


def snapshot_properties(warehouse: Warehouse, table: Table) -> dict[str, str]:
    """What the summary of a snapshot says beside Iceberg's figures: which audit wrote it, under which lock."""
    writer = _writer(warehouse, table)
    locked = {} if writer is None else {RUN_PROPERTY: writer.run, TOKEN_PROPERTY: str(writer.token)}
    return {AUDIT_PROPERTY: warehouse.branch, **locked}


def fenced(warehouse: Warehouse, table: Table, action: Callable[[], Answer]) -> Callable[[], Answer]:
    """Precede what ends in a commit by `verify_locks`."""

    def verified() -> Answer:
        verify_locks(warehouse, table)
        return action()

    return verified


def verify_locks(warehouse: Warehouse, table: Table) -> None:
    """Look whether a commit to a table may go on; any may where no locks are held.

    Raises
    ------
    PassingError : a lock is lost, or another run has taken it since and has written to the audit's branch.
    """
    if warehouse.locks is None:
        return
    warehouse.locks.verify()
    writer, head = _writer(warehouse, table), warehouse.references(table).get(warehouse.branch)
    if writer is None or head is None:
        return
    summary = warehouse.iceberg(table).snapshot(head).summary()
    run, token = summary.get(RUN_PROPERTY), summary.get(TOKEN_PROPERTY)
    if token is not None and run != writer.run and int(token) > writer.token:
        raise PassingError(
            f"{run} took the lock of {warehouse.full_name(table)} for {warehouse.dt} after {writer.run}, and has "
            "written since",
            "Start again when it has ended",
        )


def _writer(warehouse: Warehouse, table: Table) -> Writer | None:
    if warehouse.locks is None:
        return None
    return warehouse.locks.writer(warehouse.namespaces[table.scope], warehouse.dt)
