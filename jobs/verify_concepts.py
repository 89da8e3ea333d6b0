"""Judge on held-out users how well each concept's description predicts where its latent fires.

spark-submit --properties-file conf/spark/local.conf jobs/verify_concepts.py --dt 2026-11-20
recsae run verify_concepts --dt 2026-11-20
recsae run verify_concepts --dt 2026-11-20 --estimate

With verification.judges [terms, llm] a language model judges the same cases beside the term scorer. Its answers are
kept under var/work: an interrupted run asks only what has no answer yet, and an answer that does not name every case
once lands in verification_rejects. With --estimate the job prints what it would ask and cost, and asks nothing.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.levels import activation_levels, level_edges
from recsae_lib.concepts.linking import linked_items, most_telling_first
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.interpretation.estimate import estimate_cases, estimate_judging
from recsae_lib.interpretation.llm_judge import LlmVerdicts, judge_with_llm
from recsae_lib.interpretation.prompts import load_prompt
from recsae_lib.interpretation.scores import score_concepts, score_shuffled
from recsae_lib.interpretation.shuffled_labels import deal_labels, dealt_terms
from recsae_lib.interpretation.verification import Verdicts, verify_units
from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.warehouse import tables


@for_each_site
def run(context: JobContext) -> None:
    """Write the judged cases and the scores of every judge, the scores of shuffled labels, and refused answers."""
    warehouse, settings = context.warehouse, context.settings
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
    items, terms = warehouse.read_filled(tables.ITEMS), warehouse.read(tables.CONCEPT_TERMS)
    neighbours = neighbours_of(warehouse.read(tables.LATENT_ITEMS), settings.verification.neighbours)
    donors = deal_labels(terms, settings.seed)
    verdicts = verify_units(activations, linked, items, terms, neighbours, settings, dealt_terms(terms, donors))
    by_dealt = verdicts.cases.withColumn("judged", F.col("judged_by_dealt"))
    shuffled = score_shuffled(by_dealt, verdicts.scores, donors, settings.verification)
    by_llm = judge(context, verdicts, linked, items) if "llm" in settings.verification.judges else None

    cases, scores = verdicts.cases.drop("judged_by_dealt"), verdicts.scores.withColumns(origin(None, None))
    rejects = context.spark.createDataFrame([], tables.VERIFICATION_REJECTS.schema).drop("dt", "sae_version")
    if by_llm is not None:
        cases, rejects = cases.unionByName(by_llm.cases.withColumn("judge", F.lit("llm"))), by_llm.rejects
        scores = scores.unionByName(llm_scores(context, by_llm, verdicts))
    written = {
        table.name: warehouse.replace(table, rows.withColumn("sae_version", F.lit(context.sae_version)))
        for table, rows in (
            (tables.VERIFICATION_CASES, cases),
            (tables.CONCEPT_SCORES, scores),
            (tables.SHUFFLED_SCORES, shuffled),
            (tables.VERIFICATION_REJECTS, rejects),
        )
    }
    verdicts.release()
    if by_llm is not None:
        by_llm.release()
    report(context, written)


def judge(context: JobContext, verdicts: Verdicts, linked: DataFrame, items: DataFrame) -> LlmVerdicts:
    """Let the language model judge the cases that the term scorer has judged."""
    settings = context.settings
    return judge_with_llm(
        verdicts.cases.select("latent_id", "user_id", "kind", "fires"),
        context.warehouse.read(tables.CONCEPT_LABELS),
        most_telling_first(linked, settings.evidence),
        items,
        settings.verification,
        settings.interpretation.openai,
        load_prompt(Path(settings.verification.judge_prompt)),
        settings.seed,
        context.work_folder(),
        lambda done, of_all: log.info("verify_concepts: %s of %s answers", done, of_all),
    )


def llm_scores(context: JobContext, by_llm: LlmVerdicts, verdicts: Verdicts) -> DataFrame:
    """Score what the language model said; which latents live, and their best features, the term scorer's rows say."""
    settings = context.settings
    scores = score_concepts(by_llm.cases, "llm", verdicts.scores, verdicts.scores, settings.verification)
    prompt = load_prompt(Path(settings.verification.judge_prompt))
    return scores.withColumns(origin(settings.interpretation.openai.model, prompt.version))


def origin(llm_model: str | None, prompt_version: str | None) -> dict[str, Column]:
    """Columns that say which language model judged under which prompt."""
    return {
        "llm_model": F.lit(llm_model).cast("string"),
        "prompt_version": F.lit(prompt_version).cast("string"),
    }


def report(context: JobContext, written: dict[str, int]) -> None:
    """Log what was written, and how many concepts each judge calls interpretable beside the shuffled labels."""
    scores = context.warehouse.read(tables.CONCEPT_SCORES).where("interpretable").groupBy("judge").count().collect()
    shuffled = context.warehouse.read(tables.SHUFFLED_SCORES).where("interpretable").count()
    judges = ", ".join(f"{row['count']:,} by judge {row['judge']}" for row in sorted(scores)) or "none"
    log.info(
        "verify_concepts: %s cases, %s refused answers; of %s latents interpretable: %s; with shuffled labels: %s",
        f"{written['verification_cases']:,}",
        f"{written['verification_rejects']:,}",
        f"{written['shuffled_scores']:,}",
        judges,
        f"{shuffled:,}",
    )


@for_each_site
def estimate(context: JobContext) -> None:
    """Print how many cases there would be, and what judge llm would be asked and cost."""
    warehouse, settings = context.warehouse, context.settings
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    edges = level_edges(activations)
    verify = activations.where(~in_construct_half(F.col("user_id"), settings.evidence.salt))
    cases = estimate_cases(
        activation_levels(verify, edges),
        verify.count(),
        edges,
        warehouse.read(tables.CONCEPT_LABELS),
        settings.verification,
    )
    lines = cases.lines()
    if "llm" in settings.verification.judges:
        linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
        asked = estimate_judging(
            cases,
            verify.select("user_id"),
            most_telling_first(linked, settings.evidence),
            warehouse.read_filled(tables.ITEMS),
            settings.verification,
            load_prompt(Path(settings.verification.judge_prompt)),
        )
        lines += [*asked.lines(settings.interpretation.openai), "what has been answered before is not asked again"]
    else:
        lines.append("judge terms asks nobody; --set 'verification.judges=[terms, llm]' estimates a language model")
    print("\n".join(f"verify_concepts: {line}" for line in lines))


if __name__ == "__main__":
    main(__file__, run, estimate)
