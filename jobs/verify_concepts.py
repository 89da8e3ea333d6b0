"""Judge on held-out users how well each concept's description predicts where its latent fires.

spark-submit --properties-file conf/spark/local.conf jobs/verify_concepts.py --dt 2026-11-20
recsae run verify_concepts --dt 2026-11-20
"""

from __future__ import annotations

from pyspark.sql import functions as F

from recsae_lib.concepts.linking import linked_items
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.interpretation.verification import verify_units
from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.sae.store import load_sae
from recsae_lib.warehouse import tables


@for_each_site
def run(context: JobContext) -> None:
    """Write the judged cases, then the scores."""
    warehouse, settings = context.warehouse, context.settings
    sae = load_sae(context.registry.fetch(context.sae_name, context.sae_version))
    neighbours = neighbours_of(context.spark, sae.W_dec.detach().numpy(), settings.verification.neighbours)
    verdicts = verify_units(
        warehouse.read_filled(tables.LATENT_ACTIVATIONS),
        linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence),
        warehouse.read_filled(tables.ITEMS),
        warehouse.read(tables.CONCEPT_TERMS),
        neighbours,
        settings,
    )
    version = F.lit(context.sae_version)
    cases = warehouse.replace(tables.VERIFICATION_CASES, verdicts.cases.withColumn("sae_version", version))
    concepts = warehouse.replace(tables.CONCEPT_SCORES, verdicts.scores.withColumn("sae_version", version))
    verdicts.release()
    interpretable = warehouse.read(tables.CONCEPT_SCORES).where("interpretable").count()
    log.info("verify_concepts: %s cases, %s of %s concepts interpretable", f"{cases:,}", interpretable, concepts)


if __name__ == "__main__":
    main(__file__, run)
