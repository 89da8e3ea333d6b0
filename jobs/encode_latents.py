"""Encode the representations of all users with the sparse autoencoder.

spark-submit --properties-file conf/spark/local.conf jobs/encode_latents.py --dt 2026-11-20
recsae run encode_latents --dt 2026-11-20
"""

from __future__ import annotations

from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.encoding import encode_batches
from recsae_lib.shipping import ship_folder
from recsae_lib.warehouse import tables

# What `encode_batches` gives, with arrays that cannot hold a null, as the table declares them: Spark searches none.
ENCODED = T.StructType(
    [
        T.StructField("user_id", T.StringType()),
        T.StructField("latent_ids", tables.array_of(T.IntegerType())),
        T.StructField("activations", tables.array_of(T.FloatType())),
    ]
)


@for_each_site
def run(context: JobContext) -> None:
    """Read the representations of this date, encode in Arrow batches, replace the partition."""
    folder = context.registry.fetch(context.sae_name, context.sae_version)
    last = RepresentationSet.of(
        context.settings, context.recommender_name, context.model_version, "last", context.dt, context.site
    )
    representations = context.spark.read.parquet(last.require()).select("user_id", "representation")
    encode = encode_batches(ship_folder(context.spark, folder))
    activations = representations.mapInArrow(encode, ENCODED)
    users = context.warehouse.replace(
        tables.LATENT_ACTIVATIONS, activations.withColumn("sae_version", F.lit(context.sae_version))
    )
    log.info("encode_latents: %s users", f"{users:,}")


if __name__ == "__main__":
    main(__file__, run)
