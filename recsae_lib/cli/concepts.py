"""`recsae concepts`: published concepts with their evidence, in a second where PyIceberg can read them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from recsae_lib.cli.concept_lines import concept_lines
from recsae_lib.cli.parsing import add_site, command
from recsae_lib.cli.terminal import Terminal, of_audit
from recsae_lib.concepts.listing import TABLES, ItemLink, evidence, links_of, named_so, read_concepts, title_of
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.reports import reports_folder
from recsae_lib.platform.warehouse.rows import PublishedRows

WIDEST = 110  # of text that people read
DEPTH, DEPTH_OF_ONE = 10, 25  # terms and items of a concept, in a list and by itself


def add_to(commands: Any) -> None:
    """Add the command."""
    concepts = command(commands, "concepts", "show published concepts: label, terms, top items, confidence", _concepts)
    concepts.add_argument("--top", type=int, default=10, metavar="N", help="the first N (default 10)")
    concepts.add_argument("--latent", type=int, metavar="ID", help="this latent only, with more of its evidence")
    concepts.add_argument("--search", metavar="TEXT", help="those with this text in label, description or terms")
    concepts.add_argument("--item", metavar="ID", help="those that are linked to this item, or push it up or down")
    concepts.epilog = (
        "Confirmed ones first, then interpretable ones, then by confidence; unlabelled ones last. Of the newest "
        "published audit, or of --dt. Starts no Java where the tables lie on this machine, in a folder, or in a "
        "catalog of type JDBC on SQLite or REST."
    )
    add_site(concepts)


def _concepts(arguments: argparse.Namespace) -> None:
    context = context_of(arguments, "concepts").at_site(arguments.site)
    rows = _open(context, arguments.dt)
    print_concepts(context, rows, arguments.top, arguments.latent, arguments.search, arguments.item)


def _open(context: JobContext, dt: date | None) -> PublishedRows:
    """The audit of a date, or the newest one, by the quickest reader that has it."""
    from recsae_lib.platform.warehouse.pyiceberg_rows import open_rows

    settings, namespaces = context.settings, context.namespaces
    wanted = {table: namespaces[scope] for table, scope in TABLES.items()}
    rows = open_rows(settings.spark.properties_file, settings.catalog, wanted, namespaces["audit"], dt)
    return _open_by_spark(context, dt) if rows is None else rows


def _open_by_spark(context: JobContext, dt: date | None) -> PublishedRows:
    """The same by Spark.

    Raises
    ------
    InputError : nothing is published, or not for this date.
    """
    from recsae_lib.platform.warehouse import tables
    from recsae_lib.platform.warehouse.publications import last_of_each_date, newest_publication, publications
    from recsae_lib.platform.warehouse.spark_rows import SparkRows

    found = publications(context.warehouse)
    dt = dt or newest_publication(context.warehouse, found).dt
    warehouse, publication = context.warehouse.at(dt), last_of_each_date(found).get(dt)
    if publication is not None:
        return SparkRows(warehouse, publication)
    namespace, branch = context.namespaces["audit"], warehouse.branch
    if branch in warehouse.references(tables.CONCEPTS):
        raise InputError(
            f"The concepts of {namespace} for dt={dt} are not published: they are on the branch {branch}",
            f"`recsae sql \"SELECT * FROM {namespace}.concepts VERSION AS OF '{branch}'\"` shows them; why is in "
            f"{reports_folder(context.settings.paths, namespace, dt) / 'checks.json'}",
        )
    raise InputError(
        f"There are no published concepts of {namespace} for dt={dt}",
        "`recsae sql 'SELECT dt FROM audits'` lists what is published",
    )


def print_concepts(
    context: JobContext, rows: PublishedRows, top: int, latent: int | None, search: str | None, item: str | None
) -> None:
    """Print concepts, best first: all, or those that each of `latent`, `search` and `item` leaves.

    Raises
    ------
    InputError : there is no such latent, or no such item.
    """
    namespace = context.namespaces["audit"]
    found, links, title = read_concepts(rows), None, None
    if latent is not None:
        found = [concept for concept in found if concept["latent_id"] == latent]
    if not found:
        wanted = f"latent {latent}" if latent is not None else "concepts"
        raise InputError(
            f"There are no published {wanted} of {namespace} for dt={rows.dt}",
            "A dead latent has no concept; `recsae sql` shows all",
        )
    if item is not None:
        if (title := title_of(rows, item)) is None:
            raise InputError(f"There is no item {item} in {namespace}", "Give an item_id of the table items")
        links = links_of(rows, item)
        found = [concept for concept in found if concept["latent_id"] in links]
    if search is not None:
        found = named_so(rows, found, search)
    shown = found[: max(top, 0)]
    terms, items = evidence(rows, [row["latent_id"] for row in shown], DEPTH if latent is None else DEPTH_OF_ONE)
    terminal = Terminal(WIDEST)
    terminal.line(f"Concepts of {of_audit(namespace, rows.dt, rows.sae_version)}")
    if item is not None and links is not None:
        terminal.line(f"Item {item}{f', {title}' if title else ''}: {_ties(links)}")
    if search is not None:
        terminal.line(f"{len(found)} with {search!r} in label, description or terms")
    for row in shown:
        of_latent = terms.get(row["latent_id"], []), items.get(row["latent_id"], [])
        link = None if links is None else links[row["latent_id"]]
        heading, *lines = concept_lines(row, *of_latent, context.settings.verification, link)
        terminal.rule(heading, align="left")
        for line in lines:
            terminal.line(line)
    if len(found) > len(shown):
        terminal.line(f"{len(shown)} of {len(found)}; --top {len(found)} shows all")


def _ties(links: Mapping[int, ItemLink]) -> str:
    """How many concepts have to do with an item, and in which way."""
    ways = Counter(
        way
        for link in links.values()
        for way, holds in (
            ("linked to", link.linked is not None),
            ("pushed up by", link.pushed is not None and link.pushed["rank"] > 0),
            ("pushed down by", link.pushed is not None and link.pushed["rank"] < 0),
        )
        if holds
    )
    return ", ".join(f"{way} {number}" for way, number in ways.items()) or "no concept has to do with it"
