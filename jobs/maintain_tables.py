"""Keep tables and bulk files from growing: drop what is past its retention, merge small files, remove orphans.

    spark-submit --properties-file conf/spark/local.conf jobs/maintain_tables.py --dt 2026-11-20
    recsae run maintain_tables --dt 2026-11-20

Not a part of an audit: run it after one, each night or each week. Counted back from --dt, audits older than
maintenance.keep_nights leave the tables (with their tags published-<dt>, by which `recsae sql --as-of` reads), bulk
representations older than maintenance.keep_bulk_nights leave paths.bulk; interactions and items as they were then go
after maintenance.keep_raw_nights. Tags of other names are kept, and with them
what they hold. So is every row of the list of audits, of what people rate and of comparisons; their files are merged
and their snapshots expire like those of others. Comparisons lie in the namespace of their study's name:
--set namespace=NAME maintains them.
"""

from __future__ import annotations

from datetime import timedelta

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse.maintenance import Retention, maintain_table, state_of
from recsae_lib.platform.warehouse.raw_retention import drop_raw_nights
from recsae_lib.platform.warehouse.tables import TABLES
from recsae_lib.representations.layout import remove_old_sets


@for_each_site
def run(context: JobContext) -> None:
    """Maintain the tables one after the other, then the bulk files."""
    settings, warehouse = context.settings.maintenance, context.warehouse
    retention = Retention.until(context.dt, settings.keep_nights, settings.keep_snapshot_days)
    raw = drop_raw_nights(warehouse, context.dt, settings.keep_raw_nights)
    log.info("maintain_tables: %s tags of interactions and items dropped", f"{len(raw):,}")
    for table in TABLES.values():
        if not warehouse.exists(table):
            continue
        before = state_of(warehouse, table)
        maintain_table(warehouse, table, retention)
        after = state_of(warehouse, table)
        log.info(
            "maintain_tables: %s: files %s to %s, manifests %s to %s, snapshots %s to %s, %s bytes",
            warehouse.full_name(table),
            *(before.files, after.files, before.manifests, after.manifests, before.snapshots, after.snapshots),
            f"{after.bytes:,}",
        )
    first = context.dt - timedelta(days=settings.keep_bulk_nights - 1)
    removed = remove_old_sets(context.settings.paths.bulk, context.recommender_name, first)
    log.info("maintain_tables: %s folders of representations before %s removed", f"{len(removed):,}", first)


if __name__ == "__main__":
    main(__file__)
