"""Keep tables and bulk files from growing: drop what is past its retention, merge small files, remove orphans.

    spark-submit --properties-file conf/spark/local.conf jobs/maintain_tables.py --dt 2026-11-20
    recsae run maintain_tables --dt 2026-11-20

Not a part of an audit: run it after one, each night or each week. Counted back from --dt, or from the newest published
audit where that is earlier, audits older than maintenance.keep_nights leave the tables (with their tags, by which
`recsae sql --as-of` reads), bulk representations older than maintenance.keep_bulk_nights leave paths.bulk.
Interactions and items as they were then go after maintenance.keep_raw_nights. The newest
audit never leaves, and nothing of a night that a run works on. Branches and tags of other names are kept, and with them
what they hold. So is every row of the list of audits, of what people rate and of comparisons; their files are merged
and their snapshots expire like those of others. Comparisons lie in the namespace of their study's name:
--set namespace=NAME maintains them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.nights import hold_tables
from recsae_lib.platform.job.run import main
from recsae_lib.platform.warehouse.maintenance import (
    Retention,
    dates_under_way,
    maintain_table,
    newest_date,
    retire,
    state_of,
)
from recsae_lib.platform.warehouse.nights import Nights
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.publishing import complete_publications
from recsae_lib.platform.warehouse.raw_retention import drop_raw_nights
from recsae_lib.platform.warehouse.tables import TABLES
from recsae_lib.representations.layout import remove_old_sets


def run(context: JobContext) -> None:
    """Maintain the tables of each site one after the other, then the bulk files, which sites share."""
    sites = [context.at_site(site) for site in context.settings.representations.sites]
    with Nights(lambda dt: hold_tables(replace(context, dt=dt), "write")) as nights:
        for site in sites:
            maintain_site(site, nights)
        remove_bulk(sites, nights)


def maintain_site(context: JobContext, nights: Nights) -> None:
    """Mark what leaves, then maintain the tables one after the other."""
    warehouse, against = context.warehouse, context.settings.drift.against
    complete_publications(warehouse)  # else nothing but a branch holds the last one
    retention = retention_of(context)
    left = retire(warehouse, retention, nights, compared=None if isinstance(against, str) else against)
    log.info("maintain_tables: %s publications of %s leave", f"{len(left):,}", warehouse.namespaces["audit"])
    raw = drop_raw_nights(warehouse, context.dt, context.settings.maintenance.keep_raw_nights, nights)
    log.info("maintain_tables: %s tags of interactions and items dropped", f"{len(raw):,}")
    for table in filter(warehouse.exists, TABLES.values()):
        before = state_of(warehouse, table)
        maintain_table(warehouse, table, retention, nights)
        log.info("maintain_tables: %s: %s", warehouse.full_name(table), state_of(warehouse, table).since(before))


def remove_bulk(sites: list[JobContext], nights: Nights) -> None:
    """Remove old representations, but of nights that are under way at any site."""
    context, found = sites[0], [publications(site.warehouse) for site in sites]
    newest = [dt for dt in map(newest_date, found) if dt is not None]
    if len(newest) < len(sites):  # one that has published nothing yet may be about to read any
        return
    first = min(context.dt, *newest) - timedelta(days=context.settings.maintenance.keep_bulk_nights - 1)
    busy: set[date] = set()
    for site, of_site in zip(sites, found, strict=True):
        busy |= dates_under_way(site.warehouse, of_site, retention_of(site).first_snapshot)
    removed = remove_old_sets(
        context.settings.paths.bulk,
        context.recommender_name,
        first,
        lambda dt: dt not in busy and nights.take(dt),
    )
    log.info("maintain_tables: %s folders of representations before %s removed", f"{len(removed):,}", first)


def retention_of(context: JobContext) -> Retention:
    """What is kept of a site."""
    settings, newest = context.settings.maintenance, newest_date(publications(context.warehouse))
    return Retention.until(context.dt, newest, settings.keep_nights, settings.keep_snapshot_days)


if __name__ == "__main__":
    main(__file__)
