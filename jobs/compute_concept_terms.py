"""Link latents to items by the construct half of the users, and weigh the terms of those items by TF-IDF.

spark-submit --properties-file conf/spark/local.conf jobs/compute_concept_terms.py --dt 2026-11-20
recsae run compute_concept_terms --dt 2026-11-20
"""

from __future__ import annotations

from pyspark.sql import functions as F

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.linking import linked_items
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.data_checks import check_terms


@for_each_site
def run(context: JobContext) -> None:
    """Evidence of the construct half first; the terms are computed from the evidence as it was written."""
    warehouse, settings = context.warehouse, context.settings
    construct = in_construct_half(F.col("user_id"), settings.evidence.salt)
    linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
    evidence = link_latents_to_items(
        warehouse.read_filled(tables.LATENT_ACTIVATIONS).where(construct), linked, settings.evidence.items_per_latent
    )
    pairs = warehouse.replace(tables.LATENT_ITEMS, evidence)
    terms = concept_terms(warehouse.read(tables.LATENT_ITEMS), warehouse.read_filled(tables.ITEMS), settings.terms)
    rows = warehouse.replace(tables.CONCEPT_TERMS, terms)
    log.info("compute_concept_terms: %s latent–item pairs, %s terms", f"{pairs:,}", f"{rows:,}")
    for result in check_terms(warehouse.read(tables.CONCEPT_TERMS), settings.checks):
        if not result.passed:
            log.warning("compute_concept_terms: %s", result.line())


if __name__ == "__main__":
    main(__file__)
