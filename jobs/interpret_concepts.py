"""Give each live latent a label and a description: from its own terms, or by a language model.

spark-submit --properties-file conf/spark/local.conf jobs/interpret_concepts.py --dt 2026-11-20
recsae run interpret_concepts --dt 2026-11-20

With interpreter openai the answers are kept under var/work: an interrupted run asks only what has no answer yet, and
an answer that does not fit the schema lands in concept_rejects while the latent keeps the label of its terms.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.interpretation.llm_interpreter import interpret_with_llm
from recsae_lib.interpretation.prompts import load_prompt
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.warehouse import tables


@for_each_site
def run(context: JobContext) -> None:
    """Label every live latent; write labels, then refused answers (none without a language model)."""
    warehouse = context.warehouse
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    live = activations.select(F.explode("latent_ids").alias("latent_id")).distinct()
    terms = warehouse.read(tables.CONCEPT_TERMS)
    labels, rejects = label(context, live, terms)
    version = F.lit(context.sae_version)
    count = warehouse.replace(tables.CONCEPT_LABELS, labels.withColumn("sae_version", version))
    refused = warehouse.replace(tables.CONCEPT_REJECTS, rejects.withColumn("sae_version", version))
    log.info("interpret_concepts: %s labels, %s refused answers", f"{count:,}", f"{refused:,}")


def label(context: JobContext, live: DataFrame, terms: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return (labels, rejects) from the interpreter of the settings."""
    warehouse, settings = context.warehouse, context.settings.interpretation
    if settings.interpreter == "terms":
        rejects = warehouse.spark.createDataFrame([], tables.CONCEPT_REJECTS.schema).drop("dt", "sae_version")
        return interpret_with_terms(live, terms, settings), rejects
    prompt, latent_items = load_prompt(Path(settings.prompt)), warehouse.read(tables.LATENT_ITEMS)
    return interpret_with_llm(
        context.spark,
        live,
        terms,
        latent_items,
        warehouse.read_filled(tables.ITEMS),
        neighbours_of(latent_items, context.settings.verification.neighbours),
        settings,
        prompt,
        context.work_folder(),
        lambda done, of_all: log.info("interpret_concepts: %s of %s answers", done, of_all),
    )


if __name__ == "__main__":
    main(__file__, run)
