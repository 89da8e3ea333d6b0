"""Give each live latent a label and a description: from its own terms, or by a language model.

spark-submit --properties-file conf/spark/local.conf jobs/interpret_concepts.py --dt 2026-11-20
recsae run interpret_concepts --dt 2026-11-20 [--step submit|collect] [--ask-again refused] [--estimate]

With interpreter llm, what was answered once, on whatever date and for whatever SAE, is in the ledger and not asked
again. An answer that does not fit the schema lands in concept_rejects while the latent keeps the label of its terms;
`--ask-again refused` asks for it anew.
`--step submit` sends the requests, `--step collect` fetches the answers and writes the labels (exit code 5 while some
are missing). --estimate prints what would be asked and cost, and asks nothing.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from recsae_lib.concepts.duplicates import same_as
from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.concepts.publication import latent_reach
from recsae_lib.interpretation.estimate import estimate_labels
from recsae_lib.interpretation.llm_interpreter import is_refused, read_labels, write_interpretation_requests
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.llm_requests import collected_requests, requests_path, submit_requests, write_records
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.llm.prompts import load_prompt
from recsae_lib.platform.llm.request_files import read_requests
from recsae_lib.platform.warehouse import tables
from recsae_lib.printable import say


def run(context: JobContext) -> None:
    """Label every live latent; the requests of all sites are sent before any is waited for."""
    if context.step != "collect" and context.settings.interpretation.interpreter == "llm":
        for_each_site(ask)(context)
    if context.step != "submit":
        for_each_site(write_labels)(context)


def ask(context: JobContext) -> None:
    """Write and send the requests."""
    write_requests_of(context, requests_path(context))
    submit_requests(context, tables.INTERPRETATION_REQUESTS, is_refused)


def write_requests_of(context: JobContext, path: Path) -> None:
    """Write the requests about all live latents into a file."""
    warehouse, settings = context.warehouse, context.settings
    live = live_latents(warehouse.read_filled(tables.LATENT_ACTIVATIONS))
    terms, latent_items = warehouse.read(tables.CONCEPT_TERMS), warehouse.read(tables.LATENT_ITEMS)
    neighbours = neighbours_of(latent_items, settings.verification.neighbours)
    evidence = live, terms, latent_items, warehouse.read_filled(tables.ITEMS), neighbours
    prompt = load_prompt(settings.interpretation.prompt_file)
    write_interpretation_requests(path, *evidence, settings.interpretation, settings.llm, prompt)


def write_labels(context: JobContext) -> None:
    """Write labels, refused answers (none without a language model), and what the requests cost."""
    warehouse, settings = context.warehouse, context.settings.interpretation
    activations, terms = warehouse.read_filled(tables.LATENT_ACTIVATIONS), warehouse.read(tables.CONCEPT_TERMS)
    closeness = context.settings.evidence.same_closeness
    live = live_latents(activations)
    twins = same_as(warehouse.read(tables.LATENT_ITEMS), latent_reach(activations), closeness)
    if settings.interpreter == "terms":
        labels, rejects = (
            interpret_with_terms(live, terms, twins, settings),
            tables.CONCEPT_REJECTS.empty(context.spark),
        )
        write_records(context, tables.INTERPRETATION_REQUESTS, None)
    else:
        with collected_requests(context, tables.INTERPRETATION_REQUESTS) as ledger:
            labels, rejects = read_labels(context.spark, ledger, live, terms, twins, settings)
    counts = warehouse.replace(tables.CONCEPT_LABELS, labels), warehouse.replace(tables.CONCEPT_REJECTS, rejects)
    log.info("interpret_concepts: %s labels, %s refused answers", *(f"{count:,}" for count in counts))


@for_each_site
def estimate(context: JobContext) -> None:
    """Print what the language model would be asked and cost."""
    lines = ["interpreter terms asks nobody; --set interpretation.interpreter=llm estimates a language model"]
    if context.settings.interpretation.interpreter == "llm":
        with TemporaryDirectory() as folder:
            path = Path(folder) / "requests.jsonl"
            write_requests_of(context, path)
            asked = estimate_labels(read_requests(path))
        lines = [*asked.lines(context.settings.llm), "what has been answered before is not asked again"]
    say("\n".join(f"interpret_concepts: {line}" for line in lines))


if __name__ == "__main__":
    main(__file__)
