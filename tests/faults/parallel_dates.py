"""Several dates are audited at once, each by a process of its own, on an Iceberg catalog in PostgreSQL.

The data of all dates are the same, and the first date is audited alone: the others must come to its rows under their
own date (concept_drift is left out: which audit was the last one published depends on who is first). Where one gives
way to another's commit and ends, it is started again. Needs PostgreSQL and its JDBC driver (`.ci/run` installs both).
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from recsae_lib.platform.warehouse import tables
from tests.catalogs import POSTGRES_DRIVER, find_postgres, postgres_server
from tests.faults.nights import LONGEST_NIGHT_SECONDS, FaultError, Nights, Run
from tests.workspace import DT, REPOSITORY, Workspace, different_tables

CATALOG = "on_postgres"
DATES = [DT + timedelta(days=days) for days in range(1, 5)]
MOST_STARTS = 4
ANY_DATE = date(1970, 1, 1)


def inject(nights: Nights) -> list[str]:
    if find_postgres() is None or not POSTGRES_DRIVER.is_file():
        raise FaultError(f"there is no PostgreSQL server, or no {POSTGRES_DRIVER}")
    laid_out = nights.night("parallel")
    (data := laid_out.folder / "postgres").mkdir()
    with postgres_server(data) as uri:
        catalog = {
            **{"type": "jdbc", "uri": uri, "jdbc.schema-version": "V1", "cache-enabled": "false"},
            "warehouse": str(laid_out.folder / "var" / "warehouse"),
        }
        for key, value in {"": "org.apache.iceberg.spark.SparkCatalog", **catalog}.items():
            nights.spark.conf.set(f"spark.sql.catalog.{CATALOG}.{key}".rstrip("."), value)
        night = Workspace(laid_out.folder, CATALOG, nights.spark)
        settings = [f"spark.properties={write_properties(night, catalog)}", f"catalog={CATALOG}"]
        Run(night, settings).finish()
        expected = rows_without_date(night, DT)

        running = {dt: Run(night, settings, dt=dt) for dt in DATES}
        starts = dict.fromkeys(DATES, 1)
        while running:
            dt, run = next(iter(running.items()))
            if code := run.process.wait(LONGEST_NIGHT_SECONDS):
                print(f"  {dt} ended with {code} in {run.job}: {run.log().strip().rpartition(chr(10))[2]}", flush=True)
                if starts[dt] == MOST_STARTS:
                    raise FaultError(f"{MOST_STARTS} starts did not suffice for {dt}:\n{run.log()}")
                starts[dt] += 1
                running[dt] = Run(night, settings, dt=dt)
            else:
                del running[dt]
        print(f"  starts: {', '.join(f'{dt} {count}' for dt, count in starts.items())}", flush=True)
        wrong = [
            f"{table} of {dt}" for dt in DATES for table in different_tables(expected, rows_without_date(night, dt))
        ]
        return wrong + [
            f"audits of {dt}" for dt in DATES if [r[3] for r in night.rows(tables.AUDITS, dt)] != ["published"]
        ]


def rows_without_date(night: Workspace, dt: date) -> dict[str, Any]:
    """Published rows of one date, with any date in its place; of concept_drift there are none on the first one."""
    return {
        table.name: [tuple(ANY_DATE if value == dt else value for value in row) for row in night.rows(table, dt)]
        for table in tables.AUDIT_TABLES
        if table != tables.CONCEPT_DRIFT
    }


def write_properties(night: Workspace, catalog: dict[str, str]) -> Path:
    """Spark properties of this machine, with the catalog in place of the folder."""
    lines = (REPOSITORY / "conf" / "spark" / "local.conf").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("spark.sql.catalog.recsae")]
    declared = [f"spark.sql.catalog.{CATALOG} org.apache.iceberg.spark.SparkCatalog"]
    declared += [f"spark.sql.catalog.{CATALOG}.{key} {value}" for key, value in catalog.items()]
    path = night.folder / "postgres.conf"
    path.write_text("\n".join([*kept, *declared, f"spark.driver.extraClassPath {POSTGRES_DRIVER}"]), encoding="utf-8")
    return path
