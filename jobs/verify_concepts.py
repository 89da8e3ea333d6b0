"""Judge on held-out users how well each concept's description predicts where its latent fires.

spark-submit --properties-file conf/spark/local.conf jobs/verify_concepts.py --dt 2026-11-20
recsae run verify_concepts --dt 2026-11-20 [--step submit|collect] [--estimate]

With verification.judges [terms, llm] a language model judges the same cases beside the term scorer, by the transport
that llm.transport names. Every request and answer is kept in the ledger var/llm/<namespace>.sqlite: what was answered
once, on whatever date, is not asked again. An answer that does not name every case once lands in verification_rejects.
`--step submit` writes what the term scorer says and sends the requests, `--step collect` fetches the answers and adds
what the language model says, with exit code 5 while some are still being worked on; give both the same settings. With
--estimate the job prints what it would ask and cost, and asks nothing.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.levels import activation_levels, level_edges
from recsae_lib.concepts.linking import linked_items, strongest_first
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.llm_requests import collected_requests, requests_path, submit_requests, write_records
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.warehouse import tables
from recsae_lib.verification.estimate import estimate_cases, estimate_judging
from recsae_lib.verification.judging import verify_units
from recsae_lib.verification.llm_judge import read_judged_cases, write_judge_requests
from recsae_lib.verification.scores import score_concepts, score_shuffled
from recsae_lib.verification.shuffled_labels import shuffle_labels, shuffled_terms


def run(context: JobContext) -> None:
    """Judge by every judge; the requests of all sites are sent before any is waited for."""
    if context.step != "collect":
        for_each_site(judge_by_terms)(context)
    if context.step != "submit":
        if "llm" in context.settings.verification.judges:
            for_each_site(add_llm)(context)
        for_each_site(report)(context)


def judge_by_terms(context: JobContext) -> None:
    """Write what the term scorer says of the cases, and of shuffled labels; send what judge llm is asked of them."""
    warehouse, settings = context.warehouse, context.settings
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    linked = linked_items(warehouse.read_filled(tables.RECOMMENDATIONS), settings.evidence)
    items, terms = warehouse.read_filled(tables.ITEMS), warehouse.read(tables.CONCEPT_TERMS)
    neighbours = neighbours_of(warehouse.read(tables.LATENT_ITEMS), settings.verification.neighbours)
    shuffled_labels = shuffle_labels(terms, settings.seed)
    verdicts = verify_units(
        activations, linked, items, terms, neighbours, settings, shuffled_terms(terms, shuffled_labels)
    )
    by_shuffled = verdicts.cases.withColumn("judged", F.col("judged_by_shuffled"))
    shuffled = score_shuffled(by_shuffled, verdicts.scores, shuffled_labels, settings.verification)
    no_rejects = tables.VERIFICATION_REJECTS.empty(context.spark)
    context.warehouse.replace(tables.VERIFICATION_CASES, verdicts.cases.drop("judged_by_shuffled"))
    context.warehouse.replace(tables.CONCEPT_SCORES, verdicts.scores.withColumns(origin(None, None)))
    context.warehouse.replace(tables.SHUFFLED_SCORES, shuffled)
    context.warehouse.replace(tables.VERIFICATION_REJECTS, no_rejects)
    if "llm" in settings.verification.judges:
        write_judge_requests(
            requests_path(context),
            verdicts.cases.select("latent_id", "user_id", "kind", "fires"),
            warehouse.read(tables.CONCEPT_LABELS),
            strongest_first(linked, settings.evidence),
            items,
            settings.verification,
            settings.llm,
            load_prompt(settings.verification.judge_prompt_file),
            settings.seed,
        )
    verdicts.release()
    if "llm" in settings.verification.judges:
        submit_requests(context, tables.VERIFICATION_REQUESTS)
    else:
        write_records(context, tables.VERIFICATION_REQUESTS, None)


def add_llm(context: JobContext) -> None:
    """Add what the language model says to the rows of the term scorer, which say what the cases are."""
    settings = context.settings
    with collected_requests(context, tables.VERIFICATION_REQUESTS) as ledger:
        cases, scores = (
            context.warehouse.read(table).where("judge = 'terms'").drop("dt", "sae_version")
            for table in (tables.VERIFICATION_CASES, tables.CONCEPT_SCORES)
        )
        by_llm = read_judged_cases(ledger, cases, settings.verification, settings.seed)
    # Which latents live, and their best features, the term scorer's rows say.
    llm_scores = score_concepts(by_llm.cases, "llm", scores, scores, settings.verification)
    context.warehouse.replace(tables.CONCEPT_SCORES, scores.unionByName(llm_scores.withColumns(origin(*by_llm.origin))))
    context.warehouse.replace(tables.VERIFICATION_REJECTS, by_llm.rejects)
    context.warehouse.replace(
        tables.VERIFICATION_CASES, cases.unionByName(by_llm.cases.withColumn("judge", F.lit("llm")))
    )


def origin(llm_model: str | None, prompt_version: str | None) -> dict[str, Column]:
    """Columns that say which language model judged under which prompt."""
    return {
        "llm_model": F.lit(llm_model).cast("string"),
        "prompt_version": F.lit(prompt_version).cast("string"),
    }


def report(context: JobContext) -> None:
    """Log what was written, and how many concepts each judge calls interpretable beside the shuffled labels."""
    warehouse = context.warehouse
    scores = warehouse.read(tables.CONCEPT_SCORES).where("interpretable").groupBy("judge").count().collect()
    shuffled = warehouse.read(tables.SHUFFLED_SCORES)
    log.info(
        "verify_concepts: %s cases, %s refused answers; of %s latents interpretable: %s; with shuffled labels: %s",
        f"{warehouse.read(tables.VERIFICATION_CASES).count():,}",
        f"{warehouse.read(tables.VERIFICATION_REJECTS).count():,}",
        f"{shuffled.count():,}",
        ", ".join(f"{row['count']:,} by judge {row['judge']}" for row in sorted(scores)) or "none",
        f"{shuffled.where('interpretable').count():,}",
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
            strongest_first(linked, settings.evidence),
            warehouse.read_filled(tables.ITEMS),
            settings.verification,
            load_prompt(settings.verification.judge_prompt_file),
        )
        lines += [*asked.lines(settings.llm), "what has been answered before is not asked again"]
    else:
        lines.append("judge terms asks nobody; --set 'verification.judges=[terms, llm]' estimates a language model")
    print("\n".join(f"verify_concepts: {line}" for line in lines))


if __name__ == "__main__":
    main(__file__)
