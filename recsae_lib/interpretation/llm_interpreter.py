"""Labels by a language model: evidence → requests, and, when they are answered, answers → labels.

Item text is untrusted and may give orders. Four things stand between it and a label: it enters a request only as JSON
strings inside the user message, in which no chat template finds a token of its own (`requests.encode_untrusted`); the
prompt says that what is inside is data; the answer must be one JSON object of the schema, of bounded length; and
features that the evidence does not show, or a label in a script of which neither prompt nor evidence has a letter, are
refused (`answers.read_label`). A model that follows orders inside of JSON strings all the same can be led to a wrong
label, which verification on held-out users is there to show; it can do nothing else, since an answer is only ever text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession

from recsae_lib.config import InterpretationSettings, LlmSettings
from recsae_lib.interpretation.answers import ConceptAnswer, read_label, shown_features
from recsae_lib.interpretation.request_evidence import gather_request_evidence
from recsae_lib.interpretation.requests import build_label_request, describe_evidence
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.platform.llm.answers import RefusedAnswer
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import Prompt, version_of
from recsae_lib.platform.llm.request_files import JsonObject, write_requests
from recsae_lib.platform.llm.requests import shown_in, subject_of
from recsae_lib.platform.warehouse.tables import CONCEPT_LABELS, CONCEPT_REJECTS


def write_interpretation_requests(
    requests_path: Path,
    live_latents: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    items: DataFrame,
    neighbours: DataFrame,
    settings: InterpretationSettings,
    server: LlmSettings,
    prompt: Prompt,
) -> None:
    """Write one request for every live latent with a linked item or term (METHOD.md section 5).

    After RecSAE (arXiv 2411.06112). Requests come one at a time to the driver, and from there into the file.

    Parameters
    ----------
    requests_path : file that is written; its folder exists.
    live_latents : latent_id, one row a latent.
    concept_terms, latent_items, items : as the tables of these names.
    neighbours : latent_id, neighbour_id, rank (1 is the nearest).
    settings, server : sections `interpretation` and `llm`.
    prompt : system message.
    """
    evidence = gather_request_evidence(live_latents, concept_terms, latent_items, items, neighbours, settings)
    rows = evidence.orderBy("latent_id").toLocalIterator()
    write_requests(requests_path, _build_requests(rows, settings, server, prompt))


def read_labels(
    spark: SparkSession,
    ledger: Ledger,
    live_latents: DataFrame,
    concept_terms: DataFrame,
    twins: DataFrame,
    settings: InterpretationSettings,
) -> tuple[DataFrame, DataFrame]:
    """Turn the answers that the ledger holds to its requests into labels and rejects.

    A latent whose answer is refused keeps the label made of its terms (interpreter ``terms``) and has a row among the
    rejects. On the driver is never more than one request beside one label a latent.

    Parameters
    ----------
    ledger : on the file of `write_interpretation_requests`, after `transports.collect`.
    live_latents, concept_terms, settings : as for `write_interpretation_requests`.
    twins : latent_id, same_as (`duplicates.same_as`).

    Returns
    -------
    tuple[DataFrame, DataFrame]
        The columns of concept_labels, one row for each live latent, and of concept_rejects; both without dt and
        sae_version.
    """
    labels: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    for request, line in ledger.read_answers():
        latent_id, request_id, answer = subject_of(request), request["custom_id"], _read_answer(request, line)
        if isinstance(answer, ConceptAnswer):
            prompt = request["body"]["messages"][0]["content"]
            origin = ("llm", request["body"]["model"], version_of(prompt), request_id, "labelled")
            labels.append((latent_id, answer.label, answer.description, list(answer.features), *origin))
        else:
            rejects.append((latent_id, request_id, answer.reason, answer.answer))
    labelled = spark.createDataFrame(labels, CONCEPT_LABELS.row_schema).join(live_latents, "latent_id", "left_semi")
    by_terms = interpret_with_terms(live_latents, concept_terms, twins, settings).join(
        labelled, "latent_id", "left_anti"
    )
    return (
        labelled.unionByName(by_terms).select(*CONCEPT_LABELS.row_schema.names),
        spark.createDataFrame(rejects, CONCEPT_REJECTS.row_schema),
    )


def is_refused(request: JsonObject, line: JsonObject | None) -> bool:
    """Whether an answer to a request of `write_interpretation_requests` makes no label."""
    return isinstance(_read_answer(request, line), RefusedAnswer)


def _read_answer(request: JsonObject, line: JsonObject | None) -> ConceptAnswer | RefusedAnswer:
    prompt, shown = (message["content"] for message in request["body"]["messages"])
    return read_label(line, shown_features(shown_in(request)), prompt + shown)


def _build_requests(
    rows: Iterator[Row], settings: InterpretationSettings, server: LlmSettings, prompt: Prompt
) -> Iterator[JsonObject]:
    for row in rows:
        if row["terms"] or row["linked_items"]:
            shown = describe_evidence(row["terms"] or [], row["linked_items"] or [], row["near_miss_items"] or [])
            yield build_label_request(row["latent_id"], shown, prompt, settings, server)
