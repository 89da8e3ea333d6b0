"""Iceberg catalogs other than a folder, for tests: JDBC on SQLite and on a PostgreSQL server of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

# Where Debian's packages libxerial-sqlite-jdbc-java and libpostgresql-jdbc-java put them; .ci/run installs both.
SQLITE_DRIVER, POSTGRES_DRIVER = Path("/usr/share/java/sqlite-jdbc.jar"), Path("/usr/share/java/postgresql.jar")
JDBC_DRIVERS = (SQLITE_DRIVER, POSTGRES_DRIVER)


def declare(spark: SparkSession, name: str, **properties: str) -> str:
    """Declare a catalog to the session, as lines of a properties file would. Spark keeps the first of each name."""
    assert spark.conf.get(f"spark.sql.catalog.{name}", None) is None, f"another test has a catalog {name}"
    spark.conf.set(f"spark.sql.catalog.{name}", "org.apache.iceberg.spark.SparkCatalog")
    for key, value in properties.items():
        spark.conf.set(f"spark.sql.catalog.{name}.{key.replace('_', '-')}", value)
    return name


def find_postgres() -> Path | None:
    """Folder of PostgreSQL's programs, if the server is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").is_file()), None)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL server with its data in `folder`; yields its JDBC address. It refuses to run as root."""
    programs = find_postgres()
    assert programs is not None
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        for part in (folder, *folder.parents):
            if part != Path("/tmp") and str(part).startswith("/tmp/"):
                part.chmod(0o755)
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    initialise = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "recsae", "--no-sync"]
    subprocess.run([*as_user, *initialise], check=True, capture_output=True, cwd=folder)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log")]
    subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"jdbc:postgresql://127.0.0.1:{port}/postgres?user=recsae"
    finally:
        stop = [*as_user, str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd=folder)
