"""Runs the ingestion of sample inputs by the command line, all in one process and Spark session."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recsae_lib.cli import main as cli
from recsae_lib.config import load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse
from tests.workspace import DT, Workspace


@dataclass(frozen=True)
class Outcome:
    """How an ingestion ended.

    Parameters
    ----------
    code : exit code.
    says : what the message of a refused one says; a part of it, where it is expected.
    interactions, items, rejects : rows of the tables; None where they do not matter, or where it was refused.
    """

    code: int
    says: str = ""
    interactions: int | None = None
    items: int | None = None
    rejects: int | None = None

    def is_as(self, expected: Outcome) -> bool:
        """Whether this is what is expected."""
        counts = zip(
            (self.interactions, self.items, self.rejects),
            (expected.interactions, expected.items, expected.rejects),
            strict=True,
        )
        counted = all(wanted is None or found == wanted for found, wanted in counts)
        return self.code == expected.code and expected.says in self.says and counted

    def __str__(self) -> str:
        if self.code:
            return f"exit code {self.code}: {self.says}"
        return f"{self.interactions} interactions, {self.items} items, {self.rejects} rejects"


@dataclass(frozen=True)
class Case:
    """A sample input with its settings.

    Parameters
    ----------
    name : its folder, and the name of the settings where there are several.
    settings : its own, with paths as they are on this machine.
    """

    name: str
    settings: dict[str, Any]


def cases_in(folder: Path) -> Iterator[Case]:
    """Cases of a folder that has a folder of each."""
    for home in sorted(path for path in folder.iterdir() if path.is_dir()):
        for file in sorted(home.glob("*.yaml")):
            name = home.name if file.stem == "settings" else f"{home.name}/{file.stem}"
            yield Case(name, _located(yaml.safe_load(file.read_text(encoding="utf-8")), home))
        if not list(home.glob("*.yaml")):
            inside = next(home.glob("*/inter.csv")).parent
            sources = {"interactions": f"{inside}/inter.csv", "items": f"{inside}/items.csv"}
            yield Case(home.name, {"namespace": home.name, "dataset": {"format": "csv", **sources}})


def _located(settings: dict[str, Any], home: Path) -> dict[str, Any]:
    for key in {"path", "interactions", "items"} & set(settings["dataset"]):
        written = settings["dataset"][key]
        inside = written.partition(f"/{home.name}")[2] if f"/{home.name}" in written else f"/{written}"
        settings["dataset"][key] = f"{home.absolute()}{inside}"
    return settings


def run_case(case: Case, workspace: Workspace) -> Outcome:
    """Run its ingestion, and see what became of it."""
    conf = workspace.folder / "conf" / "case.yaml"
    conf.write_text(yaml.safe_dump(case.settings, allow_unicode=True), encoding="utf-8")
    places = workspace.places
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            arguments = ["run", "ingest_dataset", "--dt", DT.isoformat(), "--conf", str(conf)]
            cli.main([*arguments, *[word for place in places for word in ("--set", place)]])
        except SystemExit as ended:
            code = int(ended.code or 0)
    if code:
        said = [line for line in told.getvalue().splitlines() if line.startswith("recsae: ")]
        return Outcome(code, said[-1].removeprefix("recsae: ") if said else told.getvalue()[-300:])
    context = JobContext("cases", load_settings(None, conf, places), DT)
    warehouse = Warehouse(workspace.spark, workspace.catalog, context.namespaces, DT)
    counts = [rows_of(warehouse, table) for table in (tables.INTERACTIONS, tables.ITEMS, tables.REJECTS)]
    return Outcome(0, "", *counts)


def rows_of(warehouse: Warehouse, table: tables.Table) -> int:
    """Rows of a table that has one date, as Iceberg has counted them: no job of Spark."""
    return int(warehouse.iceberg(table).snapshot(warehouse.snapshot_id(table)).summary()["total-records"])
