"""Several dates are audited at once, each by a process of its own, on an Iceberg catalog in PostgreSQL.

Each date has data of its own, and is audited alone in another folder first: at once they must come to the same rows.
They train in turn before, and name the versions by number: `latest` would be that of whichever date trained last.
(concept_drift is left out: which audit was the last one published depends on who is first; so are version numbers.)
Whenever a process has ended, readers of each date must see its whole audit, or nothing of it. Where one gives way to
another's commit and ends, it is started again. Needs PostgreSQL and its JDBC driver (`.ci/run` installs both).
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import publications
from tests.catalogs import POSTGRES_DRIVER, find_postgres, postgres_server
from tests.faults.nights import LONGEST_NIGHT_SECONDS, FaultError, Nights, Run
from tests.faults.readers import Rows, rows_of, rows_of_main
from tests.planted import add_planted_feature, change_planted, write_planted
from tests.workspace import DT, REPOSITORY, Workspace, different_tables

CATALOG = "on_postgres"
DATES = [DT + timedelta(days=days) for days in range(1, 5)]
MOST_STARTS = 4
WHOLE = ("interactions", "items")  # have no dt: each audit has the whole table, and main that of the newest date
VERSIONS = ("model_version", "sae_version")


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
        for dt in DATES:
            write_data(night, dt)
            train(night, settings, dt)
        return at_once(night, settings, {dt: audited_alone(nights, dt) for dt in DATES})


def train(night: Workspace, settings: list[str], dt: date) -> None:
    """Register recommender and SAE of a date: they become the versions that `versions_of` names."""
    given = [word for setting in (*settings, *data_of(dt), *versions_of(dt)) for word in ("--set", setting)]
    for job in ("ingest_dataset", "train_recommender", "extract_representations", "train_sae"):
        done = night.recsae("run", job, "--conf", "conf/planted.yaml", "--dt", dt.isoformat(), *given)
        if done.returncode:
            raise FaultError(f"{job} of {dt} ended with {done.returncode}:\n{done.stderr}")


def audited_alone(nights: Nights, dt: date) -> dict[str, Rows]:
    """Rows of a date that is audited by itself."""
    night = nights.night(f"alone-{dt}")
    write_data(night, dt)
    Run(night, data_of(dt), dt=dt).finish()
    return rows_of_date(night, dt)


def at_once(night: Workspace, settings: list[str], expected: dict[date, dict[str, Rows]]) -> list[str]:
    """Audit all dates at once, and return what differs from each by itself."""
    running = {dt: Run(night, [*settings, *data_of(dt), *versions_of(dt)], dt=dt) for dt in DATES}
    starts = dict.fromkeys(DATES, 1)
    while running:
        dt, run = next(iter(running.items()))
        if code := run.process.wait(LONGEST_NIGHT_SECONDS):
            print(f"  {dt} ended with {code} in {run.job}: {run.log().strip().rpartition(chr(10))[2]}", flush=True)
            if starts[dt] == MOST_STARTS:
                raise FaultError(f"{MOST_STARTS} starts did not suffice for {dt}:\n{run.log()}")
            starts[dt] += 1
            running[dt] = Run(night, [*settings, *data_of(dt), *versions_of(dt)], dt=dt)
        else:
            del running[dt]
        for seen in DATES:
            rows = rows_of_date(night, seen)
            if any(rows.values()) and (wrong := different_tables(rows, expected[seen])):
                raise FaultError(f"readers of {seen} see what is not of its audit: {', '.join(wrong)}")
    print(f"  starts: {', '.join(f'{dt} {count}' for dt, count in starts.items())}", flush=True)
    wrong = [f"{table} of {dt}" for dt in DATES for table in different_tables(expected[dt], rows_of_date(night, dt))]
    published = publications(night.warehouse())
    if sorted(publication.dt for publication in published) != DATES:
        wrong.append(f"audits ({published})")
    main = rows_of_main(night)
    return wrong + [f"main of {table}" for table in WHOLE if main[table] != expected[DATES[-1]][table]]


def write_data(night: Workspace, dt: date) -> None:
    """Write the data of one date: the planted ones, with a share of the interactions changed in its own way."""
    folder = night.folder / folder_of(dt)
    write_planted(folder)
    change_planted(folder, share=0.1, seed=dt.day)
    add_planted_feature(folder, "sport", items=30 + dt.day)


def folder_of(dt: date) -> str:
    return f"data-{dt.isoformat()}"


def data_of(dt: date) -> list[str]:
    """Settings by which a date has data of its own."""
    return [f"dataset.{table}={folder_of(dt)}/{table}.csv" for table in WHOLE]


def versions_of(dt: date) -> list[str]:
    """Settings that name the versions of a date: dates train in their order, into a registry that was empty."""
    number = DATES.index(dt) + 1
    return [f"recommender.version={number}", f"sae.version={number}"]


def rows_of_date(night: Workspace, dt: date) -> dict[str, Rows]:
    """What readers see of one date, without the numbers of versions."""
    point, warehouse = night.warehouse(dt).published(), night.warehouse(dt)
    compared = [table for table in tables.AUDIT_TABLES if table != tables.CONCEPT_DRIFT]
    return rows_of({table.name: point.read(warehouse, table).drop(*VERSIONS) for table in compared})


def write_properties(night: Workspace, catalog: dict[str, str]) -> Path:
    """Spark properties of this machine, with the catalog in place of the folder."""
    lines = (REPOSITORY / "conf" / "spark" / "local.conf").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("spark.sql.catalog.recsae")]
    declared = [f"spark.sql.catalog.{CATALOG} org.apache.iceberg.spark.SparkCatalog"]
    declared += [f"spark.sql.catalog.{CATALOG}.{key} {value}" for key, value in catalog.items()]
    path = night.folder / "postgres.conf"
    path.write_text("\n".join([*kept, *declared, f"spark.driver.extraClassPath {POSTGRES_DRIVER}"]), encoding="utf-8")
    return path
