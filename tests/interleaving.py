"""Runs that take turns: each waits before every commit to a table until it is resumed, or is killed there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from recsae_lib.platform.warehouse import commits
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import Table

_here = threading.local()


class Killed(BaseException):
    """Ends a run where it stands; no `except Exception` holds it up."""


class Run:
    """What runs in a thread of its own, one step at a time.

    Parameters
    ----------
    action : begins with the first step.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = self._commits = self._looks = False
        self._error: BaseException | None = None
        self.is_over = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def resume(self, until_look: bool = False) -> None:
        """Go on to the next commit, or to the end; raises what the run raises.

        Parameters
        ----------
        until_look : stop already between the look at a table and the commit that is decided by it.
        """
        self._looks = until_look
        self._go.release()
        self._stopped.acquire()
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        """End it where it stands, without a commit more."""
        self._killed = True
        self._go.release()
        self._thread.join()

    def pause(self) -> None:
        """Wait for the next step."""
        if not self._killed:
            self._stopped.release()
            self._go.acquire()
        if self._killed:
            raise Killed

    def change(self, commit: Callable[[], Any]) -> Any:
        """Wait before a commit to a table, then do it."""
        self.pause()
        self._commits = True
        try:
            return commit()
        finally:
            self._commits = False

    def look(self) -> None:
        """Wait after a look at a table that a commit is to follow, if this step goes no further."""
        if self._commits and self._looks:
            self._looks = False
            self.pause()

    def _work(self) -> None:
        self._go.acquire()
        _here.run = self
        try:
            if not self._killed:
                self._action()
        except Killed:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.is_over = True
            self._stopped.release()


def pause() -> None:
    """Have the run of this thread, if it is one, wait for its next step."""
    if (run := getattr(_here, "run", None)) is not None:
        run.pause()


def take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs wait before each commit, and tables accept commits as a catalog in a database does: no lock of the
    machine is held between look and commit, and a commit that comes too late fails and is tried again at once.
    """
    change, references = Warehouse.change, Warehouse.references

    def waiting_change(warehouse: Warehouse, table: Table, action: Callable[[], Any]) -> Any:
        run = getattr(_here, "run", None)
        return change(warehouse, table, action) if run is None else run.change(lambda: change(warehouse, table, action))

    def waiting_references(warehouse: Warehouse, table: Table) -> dict[str, int]:
        found = references(warehouse, table)
        if (run := getattr(_here, "run", None)) is not None:
            run.look()
        return found

    monkeypatch.setattr(Warehouse, "change", waiting_change)
    monkeypatch.setattr(Warehouse, "references", waiting_references)
    monkeypatch.setattr(commits, "_turn", lambda *_: nullcontext())
    monkeypatch.setattr(commits, "FIRST_PAUSE_SECONDS", 0)
