"""Judge on held-out users how well the name of a concept predicts where its latent fires, and what removing it does.

spark-submit --properties-file conf/spark/local.conf jobs/verify_concepts.py --dt 2026-11-20
recsae run verify_concepts --dt 2026-11-20 [--step submit|collect] [--ask-again refused] [--estimate]

The term scorer judges all users of the held-out sample. With verification.judges [terms, llm] a language model judges
drawn cases beside it. What it answered
once, on whatever date, is in the ledger and not asked again. An answer that does not name every case once, or is wrong
of a case whose verdict is known, lands in verification_rejects, and `--ask-again refused` asks for it anew. `--step
submit` writes what the term scorer says and sends the requests, `--step collect` adds the answers (exit code 5 while
some are missing); give both the same settings. --estimate prints what it would ask and cost.
"""

from __future__ import annotations

from functools import partial

from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.linking import strongest_first
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.llm_requests import collected_requests, requests_path, submit_requests, write_records
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.warehouse import tables
from recsae_lib.printable import say
from recsae_lib.verification.estimate import estimate_verification
from recsae_lib.verification.llm_judge import is_refused, write_judge_requests
from recsae_lib.verification.surroundings import Surroundings, audited_dictionary
from recsae_lib.verification.verdicts import (
    add_llm_verdicts,
    judge,
    own_scores,
    scores_by_shuffled,
    verdicts_line,
)

READ = (tables.LATENT_ACTIVATIONS, tables.RECOMMENDATIONS, tables.ITEMS)


def run(context: JobContext) -> None:
    """Judge by every judge; the requests of all sites are sent before any is waited for."""
    if context.step != "collect":
        for_each_site(judge_by_terms)(context)
    if context.step != "submit":
        for_each_site(add_llm)(context)


def judge_by_terms(context: JobContext) -> None:
    """Write what the term scorer says, also of shuffled labels; send what judge llm is asked of the drawn cases."""
    warehouse, settings, has_llm = context.warehouse, context.settings, "llm" in context.settings.verification.judges
    live = live_latents(warehouse.read_filled(tables.LATENT_ACTIVATIONS))
    terms, latent_items = warehouse.read(tables.CONCEPT_TERMS), warehouse.read(tables.LATENT_ITEMS)
    audited, around = audited_dictionary(context), Surroundings.of_context(context)
    verdicts = judge([audited], live, terms, latent_items, around, audited, settings, shuffle=True)
    warehouse.replace(tables.VERIFICATION_CASES, verdicts.cases())
    warehouse.replace(tables.CONCEPT_SCORES, own_scores(verdicts, settings))
    warehouse.replace(tables.SHUFFLED_SCORES, scores_by_shuffled(verdicts, settings))
    warehouse.replace(tables.VERIFICATION_REJECTS, tables.VERIFICATION_REJECTS.empty(context.spark))
    if has_llm:
        prompt, labels = load_prompt(settings.verification.judge_prompt_file), warehouse.read(tables.CONCEPT_LABELS)
        shown = verdicts.cases(), labels, strongest_first(around.linked, settings.evidence), around.items
        write_judge_requests(requests_path(context), *shown, settings.verification, settings.llm, prompt, settings.seed)
    verdicts.release()
    if has_llm:
        submit_requests(context, tables.VERIFICATION_REQUESTS, partial(is_refused, seed=settings.seed))
    else:
        write_records(context, tables.VERIFICATION_REQUESTS, None)


def add_llm(context: JobContext) -> None:
    """Add what the language model says, where it judges, to the rows of the term scorer; log what was written."""
    warehouse = context.warehouse
    if "llm" in context.settings.verification.judges:
        with collected_requests(context, tables.VERIFICATION_REQUESTS) as ledger:
            cases, scores = warehouse.read(tables.VERIFICATION_CASES), warehouse.read(tables.CONCEPT_SCORES)
            of_both = add_llm_verdicts(ledger, cases, scores, context.settings)
        warehouse.replace(tables.CONCEPT_SCORES, of_both.scores)
        warehouse.replace(tables.VERIFICATION_REJECTS, of_both.rejects)
        warehouse.replace(tables.VERIFICATION_CASES, of_both.cases)
    written = (tables.VERIFICATION_CASES, tables.VERIFICATION_REJECTS, tables.CONCEPT_SCORES, tables.SHUFFLED_SCORES)
    log.info("verify_concepts: %s", verdicts_line(*(warehouse.read(table) for table in written)))


@for_each_site
def estimate(context: JobContext) -> None:
    """Print how many cases there would be, and what judge llm would be asked and cost."""
    warehouse, settings, has_llm = context.warehouse, context.settings, "llm" in context.settings.verification.judges
    activations, recommendations, items = (warehouse.read_filled(table) for table in READ)
    labels, prompt_file = warehouse.read(tables.CONCEPT_LABELS), settings.verification.judge_prompt_file
    prompt = load_prompt(prompt_file) if has_llm else None
    lines = estimate_verification(activations, recommendations, items, labels, settings, prompt)
    say("\n".join(f"verify_concepts: {line}" for line in lines))


if __name__ == "__main__":
    main(__file__)
