"""Commands that run the suite, and those that tell about it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

from recsae_lib.cli.explore import print_pages
from recsae_lib.cli.init import write_start
from recsae_lib.cli.parsing import command, options_in_use
from recsae_lib.cli.terminal import print_table
from recsae_lib.config import Settings, as_commented_yaml
from recsae_lib.config.shipped import shipped
from recsae_lib.config.triggers import open_settings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import (
    add_estimate_argument,
    add_step_argument,
    context_of,
    settings_of,
)
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import JOBS, RETRAIN, job_named
from recsae_lib.platform.job.run import execute
from recsae_lib.printable import say
from recsae_lib.redaction import redacted


def add_to(commands: Any) -> None:
    """Add the commands that run something."""
    audit = command(commands, "audit", "run the whole flow, from raw data to published tables", _audit)
    audit.epilog = "An interrupted audit of the same date goes on where it stopped. Without --dt: today (UTC)."

    run = command(commands, "run", "run one job", _run, dt_required=True)
    names = [job.name for job in JOBS]
    run.add_argument("job", choices=names, metavar="JOB", help=", ".join(names))
    add_estimate_argument(run)
    add_step_argument(run)

    plan = command(commands, "plan", "print what a scheduler must know of an audit, as one line of JSON", _plan, True)
    plan.add_argument("--retrain", choices=RETRAIN, default="nothing", help="train this even where it is registered")
    plan.epilog = "Which trainings it needs, which SAE version it is of, where its reports will lie."

    compare = command(commands, "compare", "audit every model of a study on every data set, side by side", _compare)
    compare.epilog = (
        "--conf names the study file (conf/study.yaml). What is done is not done again. Without --dt: today."
    )

    migrate = command(commands, "migrate", "bring what an earlier version wrote to the form of this one", _migrate)
    migrate.epilog = (
        "Of the namespaces of the settings, or of a study where --conf names one: adds the columns that came later, "
        "renames values on main and on the branches of audits, makes publications and attempts of the list of audits "
        "of release 0.2. Tags keep what they hold; `recsae sql --as-of` shows it in the form of this version. Says "
        "what it did; once more changes nothing, also after a kill. Run it while no audit is under way."
    )

    relocate = command(commands, "relocate", "have a copied or moved var/ read and write where it is now", _relocate)
    relocate.epilog = (
        "Tables of a warehouse in a folder, and MLflow in SQLite, name files by their whole path: copied as they are, "
        "they go on reading and writing the original, and every other command refuses them. Rewrites these paths in "
        "the copy, with all published nights; the original is not touched, and may be gone. Once more changes nothing, "
        "also after a kill."
    )


def add_tools_to(commands: Any) -> None:
    """Add the commands that tell about settings, data, models and Spark."""
    init = command(commands, "init", "write a commented settings file to start from", _init)
    init.add_argument("folder", type=Path, metavar="FOLDER", help="where recsae.yaml goes; made where it is missing")

    sites = command(commands, "sites", "list the probing sites of the recommender, with their shapes", _sites)
    sites.epilog = "Of kind module: of the module that the settings name, registered or not."
    config = command(commands, "config", "print the resolved settings, each with its description", _config)
    config.add_argument("--digest", action="store_true", help="print only the digest that audits are marked with")
    config.add_argument("--defaults", action="store_true", help="print what every setting is where nobody sets it")
    config.add_argument(
        "--triggerable", action="store_true", help="print the names of the settings that --set-by-trigger takes"
    )
    datasets = command(commands, "datasets", "list the public data sets that are read, or download one", _datasets)
    datasets.add_argument("--fetch", metavar="NAME", help="download this one from its official address")
    datasets.add_argument("--to", type=Path, metavar="FOLDER", help="where to put its folder")

    command(commands, "jars", "print the embedded Iceberg jar, for spark-submit --jars", _jars)
    spark = command(commands, "spark", "print what spark-submit needs to know of this machine, as JSON", _spark)
    spark.add_argument(
        "--class-archives", type=Path, metavar="FOLDER", help="keep Spark's classes there: its jobs start sooner"
    )
    spark.epilog = "Of the settings' spark.properties: what Airflow's connection recsae_spark holds."


def _audit(arguments: argparse.Namespace) -> None:
    from recsae_lib.cli.summary import print_summary
    from recsae_lib.flow.audit import run_audit

    context = context_of(arguments, "audit")
    seconds = run_audit(context)
    for site in context.settings.representations.sites:
        print_summary(context.at_site(site), seconds, options_in_use(arguments))
    print_pages(context)


def _compare(arguments: argparse.Namespace) -> None:
    from recsae_lib.flow.study import load_study, run_study

    if arguments.conf is None:
        raise InputError("recsae compare needs a study", "Give it with --conf; conf/study.yaml is an example")
    study, audits = load_study(arguments.conf, shipped("base.yaml"), arguments.overrides)
    dt = arguments.dt or datetime.now(timezone.utc).date()
    say(run_study(JobContext("compare", audits[0].settings, dt), study, audits))


def _run(arguments: argparse.Namespace) -> None:
    job = job_named(arguments.job)
    if arguments.estimate and not job.estimates:
        raise InputError(f"{job.name} asks no language model", "Run it without --estimate")
    if arguments.step is not None and not job.steps:
        raise InputError(f"{job.name} has no steps", "Leave --step out")
    if arguments.ask_again is not None and not job.steps:
        raise InputError(f"{job.name} asks no language model", "Leave --ask-again out")
    context, module = context_of(arguments, job.name), job.load()
    execute(context, module.estimate if arguments.estimate else module.run, in_book=not arguments.estimate)


def _plan(arguments: argparse.Namespace) -> None:
    from recsae_lib.flow.audit import plan_audit

    say(json.dumps(plan_audit(context_of(arguments, "plan"), arguments.retrain)))


def _migrate(arguments: argparse.Namespace) -> None:
    from recsae_lib.flow.study import is_study, load_study, warehouses_of
    from recsae_lib.platform.job.record import migrate_books
    from recsae_lib.platform.warehouse.migration import migrate_tables

    if arguments.conf is not None and is_study(arguments.conf):
        study, audits = load_study(arguments.conf, shipped("base.yaml"), arguments.overrides)
        context = JobContext("migrate", audits[0].settings, datetime.now(timezone.utc).date())
        warehouses = warehouses_of(context, study, audits)
    else:
        context = context_of(arguments, "migrate")
        warehouses = context.warehouses
    # Each step yields what it did, a line for each thing.
    steps = (migrate_tables(warehouses), migrate_books(Path(context.settings.paths.var)))
    _print_steps(steps, "Nothing to do: all is of this version.")


def _print_steps(steps: Iterable[Iterable[str]], nothing: str) -> None:
    changed = False
    for line in chain.from_iterable(steps):
        say(line)
        changed = True
    if not changed:
        say(nothing)


def _relocate(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.tracking.relocation import relocate_artifacts
    from recsae_lib.platform.tracking.runs import artifacts_address
    from recsae_lib.platform.warehouse.relocation import relocate_tables

    context = context_of(arguments, "relocate")
    paths = context.settings.paths
    steps = (
        relocate_artifacts(paths.tracking_uri, artifacts_address(paths.tracking_uri, paths.artifacts)),
        relocate_tables(context.spark, context.settings.catalog),
    )
    _print_steps(steps, "Nothing to do: all is where it says it is.")


def _init(arguments: argparse.Namespace) -> None:
    file = write_start(arguments.folder)
    say(f"{file}\nNext: recsae audit --conf {file}")


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
    print_table(["site", "d", "what the submodule gives"], iter(rows))


def _config(arguments: argparse.Namespace) -> None:
    if arguments.triggerable:
        for name in open_settings():
            say(name)
        return
    settings = Settings() if arguments.defaults else settings_of(arguments)
    say(settings.digest() if arguments.digest else redacted(as_commented_yaml(settings)).rstrip("\n"))


def _datasets(arguments: argparse.Namespace) -> None:
    from recsae_lib.datasets.public.catalogue import CATALOGUE, description_of, find_dataset
    from recsae_lib.datasets.public.download import fetch_dataset

    if arguments.fetch is None:
        say("\n".join(description_of(dataset) for dataset in CATALOGUE))
        return
    dataset = find_dataset(arguments.fetch)
    if arguments.to is None:
        raise InputError("--fetch needs the folder to put the data set into", "Add --to FOLDER")
    folder = fetch_dataset(dataset, arguments.to)
    say(f"{folder}\nUse it with --set dataset.format={dataset.format} --set dataset.path={folder}")


def _jars(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.session import iceberg_jars

    if not (jars := iceberg_jars()):
        raise InputError(
            "The embedded Iceberg jar is not installed", "pip install snowpark-connect-deps-iceberg==1.0.2"
        )
    say(",".join(jars))


def _spark(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.spark.submission import submit_options

    properties = settings_of(arguments).spark.properties_file
    say(json.dumps(submit_options(properties, arguments.class_archives)))
