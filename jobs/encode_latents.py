"""Encode the representations of all users with the sparse autoencoder.

spark-submit --properties-file conf/spark/local.conf jobs/encode_latents.py --dt 2026-11-20
recsae run encode_latents --dt 2026-11-20
"""

from __future__ import annotations

from pyspark.sql import functions as F

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse import tables
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.representations.moments import sample_rows
from recsae_lib.representations.parts import parts_of, read_part
from recsae_lib.sae.encoding import encode_batches

NAMED_OUTLIERS = 5
LONGEST_NAME = 50  # characters of an id that are shown


@for_each_site
def run(context: JobContext) -> None:
    """Read the representations of this date, encode in Arrow batches, replace the partition."""
    folder = context.registry.fetch(context.sae_name, context.sae_version)
    last = RepresentationSet.of_context(context, "last")
    sample = sample_rows(context.spark.read.parquet(last.require()))
    encode = encode_batches(ship_folder(context.spark, folder), sample)
    users = context.warehouse.replace_by_files(
        tables.LATENT_ACTIVATIONS,
        parts_of(last.require(), context.spark.sparkContext.defaultParallelism),
        lambda part: encode(read_part(part)),
    )
    log.info("encode_latents: %s users", f"{users:,}")
    name_outliers(context)


def name_outliers(context: JobContext) -> None:
    """Warn of users whose representations lie far from all others."""
    beyond = context.warehouse.read(tables.LATENT_ACTIVATIONS).where("distance > 1")
    if number := beyond.count():
        farthest = beyond.orderBy(F.desc("distance"), "user_id").limit(NAMED_OUTLIERS).collect()
        named = ", ".join(f"{row['user_id'][:LONGEST_NAME]!r} ({row['distance']:.1f} times)" for row in farthest)
        log.warning(
            "encode_latents: %s users lie beyond the reach of the others, e.g. %s: look at their representations; "
            "latent_activations has them all (distance > 1)",
            f"{number:,}",
            named,
        )


if __name__ == "__main__":
    main(__file__)
