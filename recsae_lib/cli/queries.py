"""Commands that query the published tables: `recsae sql`, `recsae sql-server`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae_lib.cli.parsing import add_site, command
from recsae_lib.cli.terminal import TABLE_ROWS, of_audit, print_csv, print_json, print_table
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.config.shipped import saved_queries
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of, parse_as_of, settings_of
from recsae_lib.printable import say

if TYPE_CHECKING:  # pyspark takes a third of a second, which other commands do without
    from recsae_lib.platform.warehouse.read_point import AsOf
    from recsae_lib.platform.warehouse.store import Warehouse


def add_to(commands: Any) -> None:
    """Add the commands."""
    sql = command(commands, "sql", "query the published tables", _sql)
    sql.add_argument(
        "query", nargs="?", help='for example "SELECT label, confidence FROM concepts ORDER BY confidence DESC"'
    )
    sql.add_argument("--file", type=Path, metavar="FILE", help="read the query from a file")
    saved = saved_queries()
    sql.add_argument(
        "--saved", choices=saved, metavar="NAME", help=f"a query that comes with the suite: {', '.join(saved)}"
    )
    sql.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="value of :NAME in the query; repeatable"
    )
    sql.add_argument(
        "--as-of",
        type=parse_as_of,
        metavar="YYYY-MM-DD[THH:MM]",
        help="the tables as the newest audit up to this date left them when it was published last; with a time (UTC), "
        "as they were published at that moment; of the list of audits, comparisons and ratings, which come without "
        "such a publication: what stands there now of dates up to this one",
    )
    sql.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        default="table",
        help="csv in a file or pipe has the values as they are; json is one object a line",
    )

    server = command(commands, "sql-server", "serve the tables to SQL clients (JDBC, ODBC) until stopped", _sql_server)
    server.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: this machine only); any other needs a login: the token in the environment "
        "variable RECSAE_SQL_TOKEN, which clients give as password, or LDAP by spark.properties",
    )
    server.add_argument("--port", type=int, default=10000, help="default: %(default)s")
    server.add_argument(
        "--read-only",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse statements that do more than read (the default); --no-read-only lets clients change tables and "
        "run code on this machine",
    )
    server.epilog = (
        "Spark's Thrift server, for clients of HiveServer2: jdbc:hive2://HOST:PORT/NAMESPACE. Who may log in may "
        "read all tables. On this machine alone, and without a token, everybody is let in."
    )
    add_site(sql)


def _sql(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.warehouse.queries import explained_refusals, run_query, unpublished_branches

    query = _query(arguments)
    warehouse = context_of(arguments, "sql").at_site(arguments.site).warehouse
    rows = run_query(warehouse, query, _parameters(arguments.parameter), arguments.as_of)
    with explained_refusals():
        if arguments.format == "csv":
            print_csv(rows.columns, rows.toLocalIterator())
        elif arguments.format == "json":
            for row in rows.toLocalIterator():
                print_json(row.asDict(recursive=True))
        else:
            shown = (list(row) for row in rows.limit(TABLE_ROWS + 1).toLocalIterator())
            print_table(rows.columns, shown, _newest(warehouse, arguments.as_of))
    if arguments.as_of is None:  # else it is asked for what was published
        for table, branches in unpublished_branches(rows).items():
            say(
                f"recsae: not shown, since it is not published: {', '.join(branches)} of {table} "
                f"(SELECT … FROM {table} VERSION AS OF '{branches[-1]}')",
                to_stderr=True,
            )


def _newest(warehouse: Warehouse, as_of: AsOf | None) -> str:
    """Which audit is the newest that a query sees."""
    from recsae_lib.platform.warehouse.read_point import as_published

    namespace, newest = warehouse.namespaces["audit"], as_published(warehouse, as_of).newest
    return f"{namespace}, nothing published" if newest is None else of_audit(namespace, newest.dt, newest.sae_version)


def _query(arguments: argparse.Namespace) -> str:
    given = [value for value in (arguments.query, arguments.file, arguments.saved) if value is not None]
    if len(given) != 1:
        raise InputError("recsae sql takes a query, --file or --saved", "Give one of the three")
    if arguments.query is not None:
        return str(arguments.query)
    file: Path = arguments.file or saved_queries()[arguments.saved]
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8: {error.reason}", "Save it as UTF-8") from None


def _sql_server(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.sql_server import serve_tables

    settings = settings_of(arguments)
    properties, namespace = settings.spark.properties_file, settings.namespaces(DEFAULT_SITE)["audit"]
    serve_tables(properties, settings.catalog, namespace, arguments.host, arguments.port, arguments.read_only)


def _parameters(given: list[str]) -> dict[str, str]:
    if wrong := [text for text in given if not re.match(r"\w+=", text)]:
        raise InputError(f"--parameter {wrong[0]} is not of the form NAME=VALUE", "For example --parameter latent=17")
    return dict(text.split("=", 1) for text in given)
