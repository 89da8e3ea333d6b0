"""The command `recsae`: run the audit or one job, look at what was published."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from recsae_lib import __version__
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.flow.audit import RETRAIN, plan_audit
from recsae_lib.platform.job.arguments import (
    add_common_arguments,
    add_estimate_argument,
    add_step_argument,
    base_settings,
    context_of,
    parse_date,
    settings_of,
)
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.jobs import JOBS, job_named
from recsae_lib.platform.job.run import execute

TABLE_ROWS = 1000  # rows that `recsae sql` prints as a table; csv and json stream without a limit


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = build_parser().parse_args(argv)
    sys.exit(guarded(lambda: arguments.action(arguments), arguments.traceback, arguments.log_format))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="recsae",
        description="What a recommender has learned, as tables: sparse autoencoders on user representations.",
    )
    parser.add_argument("--version", action="version", version=f"recsae {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    audit = _command(commands, "audit", "run the whole flow, from raw data to published tables", _audit)
    audit.epilog = "An interrupted audit of the same date goes on where it stopped. Without --dt: today (UTC)."

    run = _command(commands, "run", "run one job", _run, dt_required=True)
    names = [job.name for job in JOBS]
    run.add_argument("job", choices=names, metavar="JOB", help=", ".join(names))
    add_estimate_argument(run)
    add_step_argument(run)

    plan = _command(commands, "plan", "print what a scheduler must know of an audit, as one line of JSON", _plan, True)
    plan.add_argument("--retrain", choices=RETRAIN, default="nothing", help="train this even where it is registered")
    plan.epilog = "Which trainings it needs, which SAE version it is of, where its reports will lie."

    sql = _command(commands, "sql", "query the published tables", _sql)
    sql.add_argument(
        "query", nargs="?", help='for example "SELECT label, confidence FROM concepts ORDER BY confidence DESC"'
    )
    sql.add_argument("--file", type=Path, metavar="FILE", help="read the query from a file, e.g. conf/queries/*.sql")
    sql.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="value of :NAME in the query; repeatable"
    )
    sql.add_argument(
        "--as-of", type=parse_date, metavar="YYYY-MM-DD", help="the tables as they were published on this date"
    )
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table", help="json is one object a line")

    server = _command(commands, "sql-server", "serve the tables to SQL clients (JDBC, ODBC) until stopped", _sql_server)
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    server.add_argument("--port", type=int, default=10000, help="default: %(default)s")
    server.epilog = (
        "Spark's Thrift server, for clients of HiveServer2: jdbc:hive2://HOST:PORT/NAMESPACE. It asks for no password "
        "and lets clients write: keep it where only people whom you trust reach it."
    )

    concepts = _command(commands, "concepts", "show published concepts: label, terms, top items, confidence", _concepts)
    concepts.add_argument("--top", type=int, default=10, metavar="N", help="the N of highest confidence (default 10)")
    concepts.add_argument("--latent", type=int, metavar="ID", help="this latent only, with more of its evidence")
    for reader in (sql, concepts):
        _add_site(reader)

    _add_ratings(commands)

    compare = _command(commands, "compare", "audit every model of a study on every data set, side by side", _compare)
    compare.epilog = (
        "--conf names the study file (conf/study.yaml). What is done is not done again. Without --dt: today."
    )

    status = _command(commands, "status", "show the last nights: what was published, what failed and why", _status)
    status.add_argument("--nights", type=int, default=7, metavar="N", help="the latest N dates (default 7)")
    status.add_argument("--format", choices=("table", "json"), default="table", help="json is one job a line")

    _command(commands, "versions", "list SAE versions with aliases and metrics", _versions)
    promote = _command(commands, "promote", "make an SAE version the champion, e.g. to roll back", _promote)
    promote.add_argument("version", metavar="VERSION", help="a number, or an alias: previous undoes the last promotion")
    promote.add_argument("--force", action="store_true", help="also a version that no published audit has used")
    promote.epilog = (
        "The version that was champion becomes previous. What was published stays as it is: every row names its "
        "version. Nights with sae.version=champion use the promoted one from then on."
    )
    _add_site(promote)
    sites = _command(commands, "sites", "list the probing sites of the recommender, with their shapes", _sites)
    sites.epilog = "Of kind module: of the module that the settings name, registered or not."
    config = _command(commands, "config", "print the resolved settings, each with its description", _config)
    config.add_argument("--digest", action="store_true", help="print only the digest that audits are marked with")
    datasets = _command(commands, "datasets", "list the public data sets that are read, or download one", _datasets)
    datasets.add_argument("--fetch", metavar="NAME", help="download this one from its official address")
    datasets.add_argument("--to", type=Path, metavar="FOLDER", help="where to put its folder")

    _command(commands, "jars", "print the embedded Iceberg jar, for spark-submit --jars", _jars)
    spark = _command(commands, "spark", "print what spark-submit has to be told on this machine, as JSON", _spark)
    spark.add_argument(
        "--class-archives", type=Path, metavar="FOLDER", help="keep Spark's classes there: its jobs start sooner"
    )
    spark.epilog = "Of the settings' spark.properties: what Airflow's connection recsae_spark holds."
    return parser


def _add_ratings(commands: Any) -> None:
    summary = "have people rate published concepts"
    ratings = commands.add_parser("ratings", help=summary, description=summary.capitalize() + ".")
    ratings.epilog = (
        "export writes the page and the sheet; send them to raters, who send back CSV files; import stores these; "
        "report says what people think of the concepts, how far they agree, and whether the judge agrees with them."
    )
    actions = ratings.add_subparsers(required=True, metavar="ACTION")
    export = _command(
        actions, "export", "draw a sample of published concepts and write it as a page and as a sheet", _export_ratings
    )
    export.add_argument("--concepts", type=int, default=50, metavar="N", help="concepts to rate (default 50)")
    export.epilog = (
        "The page is one HTML file that works offline. Strata (confidence times interpretable) share the sample as "
        "equally as they can. Some concepts come twice and some labels are wrong: they check the raters; the key is "
        "kept in the table rating_samples. The same date, N and seed give the same page. Without --dt: the newest "
        "published audit."
    )
    importing = _command(actions, "import", "store the files that raters sent back", _import_ratings)
    importing.add_argument("files", type=Path, nargs="+", metavar="FILE", help="CSV of the page, or the filled sheet")
    importing.epilog = (
        "Ratings go to concept_ratings under the date of their audit, refused rows with the reason to rating_rejects. "
        "What a rater sends again for a sample replaces all of his ratings of it; the same file again changes nothing. "
        "With --dt: samples of this date only."
    )
    report = _command(
        actions, "report", "mean relevance, agreement, raters, and the judge beside people", _report_ratings
    )
    report.epilog = "Everything is also written to rating_metrics. Without --dt: the newest audit with ratings."
    for parser in (export, importing, report):
        _add_site(parser)


def _add_site(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--site", default=DEFAULT_SITE, help="probing site whose tables are read (default: last)")


def _command(commands: Any, name: str, summary: str, action: Any, dt_required: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
    add_common_arguments(parser, dt_required)
    parser.set_defaults(action=action)
    return parser


def _audit(arguments: argparse.Namespace) -> None:
    from recsae_lib.cli.summary import print_summary
    from recsae_lib.flow.audit import run_audit

    context = context_of(arguments, "audit")
    seconds = run_audit(context)
    for site in context.settings.representations.sites:
        print_summary(context.at_site(site), seconds)


def _compare(arguments: argparse.Namespace) -> None:
    from recsae_lib.flow.study import load_study, run_study

    if arguments.conf is None:
        raise InputError("recsae compare needs a study", "Give it with --conf; conf/study.yaml is an example")
    base = base_settings()
    study, audits = load_study(arguments.conf, base, arguments.overrides)
    dt = arguments.dt or datetime.now(timezone.utc).date()
    print(run_study(JobContext("compare", audits[0].settings, dt), study, audits))


def _run(arguments: argparse.Namespace) -> None:
    job = job_named(arguments.job)
    if arguments.estimate and not job.estimates:
        raise InputError(f"{job.name} asks no language model", "Run it without --estimate")
    if arguments.step is not None and not job.steps:
        raise InputError(f"{job.name} has no steps", "Leave --step out")
    context, module = context_of(arguments, job.name), job.load()
    context.step = arguments.step
    execute(context, module.estimate if arguments.estimate else module.run, in_book=not arguments.estimate)


def _plan(arguments: argparse.Namespace) -> None:
    print(json.dumps(plan_audit(context_of(arguments, "plan"), arguments.retrain)))


def _sql(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.warehouse.queries import run_query

    if (arguments.query is None) == (arguments.file is None):
        raise InputError("recsae sql takes a query or --file", "Give one of the two")
    query = arguments.query if arguments.file is None else arguments.file.read_text(encoding="utf-8")
    warehouse = context_of(arguments, "sql").at_site(arguments.site).warehouse
    rows = run_query(warehouse, query, _parameters(arguments.parameter), arguments.as_of)
    if arguments.format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.columns)
        writer.writerows([_as_text(value) for value in row] for row in rows.toLocalIterator())
    elif arguments.format == "json":
        for row in rows.toLocalIterator():
            print(json.dumps(row.asDict(recursive=True), ensure_ascii=False, default=_as_json))
    else:
        _print_table(rows.columns, (list(row) for row in rows.limit(TABLE_ROWS + 1).toLocalIterator()))


def _sql_server(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.sql_server import serve_tables

    settings = settings_of(arguments)
    serve_tables(Path(settings.spark.properties), settings.catalog, arguments.host, arguments.port)


def _parameters(given: list[str]) -> dict[str, str]:
    if wrong := [text for text in given if not re.match(r"\w+=", text)]:
        raise InputError(f"--parameter {wrong[0]} is not of the form NAME=VALUE", "For example --parameter latent=17")
    return dict(text.split("=", 1) for text in given)


def _concepts(arguments: argparse.Namespace) -> None:
    from recsae_lib.cli.summary import print_concepts

    print_concepts(
        context_of(arguments, "concepts").at_site(arguments.site),
        arguments.top,
        arguments.latent,
        exact_dt=arguments.dt,
    )


def _export_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import export_ratings

    if arguments.concepts < 1:
        raise InputError(f"--concepts is {arguments.concepts}", "Give the number of concepts to rate, 1 or more")
    context = context_of(arguments, "ratings").at_site(arguments.site)
    export_ratings(context, arguments.concepts, exact_dt=arguments.dt)


def _import_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import import_ratings

    import_ratings(context_of(arguments, "ratings").at_site(arguments.site), arguments.files, exact_dt=arguments.dt)


def _report_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import report_ratings

    report_ratings(context_of(arguments, "ratings").at_site(arguments.site), exact_dt=arguments.dt)


def _status(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.job.record import book_path, latest_nights, read_book

    settings = settings_of(arguments)
    path = book_path(Path(settings.paths.var), settings.namespaces(DEFAULT_SITE)["model"])
    if not path.is_file():
        raise InputError(f"No job has run here yet: there is no {path}", "Start one, or see --conf and paths.var")
    nights = latest_nights(read_book(path), arguments.nights)
    if arguments.format == "json":
        for night in nights:
            for record in night.jobs.values():
                print(json.dumps(vars(record), ensure_ascii=False))
        return
    rows = []
    for night in nights:
        slowest = max(night.jobs.values(), key=lambda record: record.seconds)
        sae = [record.sae_version for record in night.jobs.values() if record.sae_version is not None]
        slow = f"{slowest.job} {slowest.seconds:,.0f} s"
        rows.append([night.dt, night.state(), max(sae, default=None), f"{night.seconds:,.0f} s", slow])
    _print_table(["night", "state", "SAE", "work", "longest"], iter(rows))
    for night in nights:
        if cause := night.cause():
            print(f"{night.dt}: {cause}")


def _versions(arguments: argparse.Namespace) -> None:
    context = context_of(arguments, "versions")
    names = ("fvu", "l0", "dead_fraction", "ndcg_at_10_kept")
    rows = [
        [
            version.number,
            " ".join(version.aliases),
            version.tags.get("dt", ""),
            f"{context.recommender_name} {version.tags.get('model_version', '')}",
            version.tags.get("parent_version", ""),
            " ".join(version.tags.get(tag, "") for tag in ("audit_status", "audit_dt")).strip(),
            *(f"{version.metrics[name]:.4f}" if name in version.metrics else "" for name in names),
        ]
        for version in context.registry.versions(context.sae_name)
    ]
    _print_table(
        [*("version", "alias", "trained for", "recommender", "parent", "audit"), "FVU", "L0", "dead", "NDCG@10 kept"],
        iter(rows),
    )


def _promote(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.tracking.registry import PUBLISHED_TAG

    context = context_of(arguments, "promote").at_site(arguments.site)
    registry, name = context.registry, context.sae_name
    version = registry.resolve(name, int(arguments.version) if arguments.version.isdecimal() else arguments.version)
    if PUBLISHED_TAG not in registry.tags(name, version) and not arguments.force:
        raise InputError(
            f"No published audit has used version {version} of {name}",
            "Audit and publish it (sae.version), or promote it unseen with --force",
        )
    before = registry.promote(name, version)
    print(f"{name}: champion is version {version} (before: {before or 'none'})")
    candidates = [known.number for known in registry.versions(name) if "candidate" in known.aliases]
    if context.settings.sae.version == "candidate" and candidates != [version]:
        print("sae.version is candidate: nights go on with what train_sae made last; set sae.version: champion")


def _sites(arguments: argparse.Namespace) -> None:
    from recsae_lib.recommenders.foreign.module import unregistered_module
    from recsae_lib.recommenders.probing import SHAPES, inspect_sites
    from recsae_lib.recommenders.store import load_recommender

    context = context_of(arguments, "sites")
    recommender = context.settings.recommender
    if recommender.kind == "external":
        raise InputError("Representations of your own have one site, last", "Leave representations.sites unset")
    if recommender.kind == "module":
        sites = inspect_sites(unregistered_module(recommender.module))
    else:
        sites = inspect_sites(load_recommender(context.registry.fetch(context.recommender_name, context.model_version)))
    rows = [[site.name, site.dimension, SHAPES[site.layout]] for site in sites.values()]
    _print_table(["site", "d", "what the submodule gives"], iter(rows))


def _config(arguments: argparse.Namespace) -> None:
    from recsae_lib.config import as_commented_yaml

    settings = settings_of(arguments)
    print(settings.digest() if arguments.digest else as_commented_yaml(settings), end="\n" if arguments.digest else "")


def _datasets(arguments: argparse.Namespace) -> None:
    from recsae_lib.datasets.public.catalogue import CATALOGUE, description_of, find_dataset
    from recsae_lib.datasets.public.download import fetch_dataset

    if arguments.fetch is None:
        print("\n".join(description_of(dataset) for dataset in CATALOGUE))
        return
    dataset = find_dataset(arguments.fetch)
    if arguments.to is None:
        raise InputError("--fetch needs the folder to put the data set into", "Add --to FOLDER")
    folder = fetch_dataset(dataset, arguments.to)
    print(f"{folder}\nUse it with --set dataset.format={dataset.format} --set dataset.path={folder}")


def _jars(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.session import iceberg_jars

    if not (jars := iceberg_jars()):
        raise InputError("The embedded Iceberg jar is not installed", "pip install 'recsae[embedded]'")
    print(",".join(jars))


def _spark(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.session import submit_options

    properties = Path(settings_of(arguments).spark.properties)
    print(json.dumps(submit_options(properties, arguments.class_archives)))


def _print_table(columns: Sequence[str], rows: Iterator[list[Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(*[escape(column) for column in columns])
    count = 0
    for row in rows:
        count += 1
        if count <= TABLE_ROWS:
            table.add_row(*[Text(_as_text(value)) for value in row])  # Text: item text is no markup
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    if count > TABLE_ROWS:
        console.print(f"The first {TABLE_ROWS:,} rows; --format csv or json gives all.")


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_as_text(part) for part in value)
    return str(value)


def _as_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


if __name__ == "__main__":
    main()
