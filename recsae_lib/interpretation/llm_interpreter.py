"""Labels by a language model: evidence → requests → transport → checked answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import types as T

from recsae_lib.config import InterpretationSettings
from recsae_lib.interpretation.answers import ConceptAnswer, RefusedAnswer, read_answer, shown_features
from recsae_lib.interpretation.batch_files import (
    JsonObject,
    index_answers,
    read_answer_at,
    read_requests,
    write_requests,
)
from recsae_lib.interpretation.inline_transport import Progress, run_inline
from recsae_lib.interpretation.prompts import Prompt
from recsae_lib.interpretation.request_evidence import gather_request_evidence
from recsae_lib.interpretation.requests import build_request, describe_evidence, evidence_of, latent_of
from recsae_lib.interpretation.terms_interpreter import interpret_with_terms
from recsae_lib.warehouse.tables import CONCEPT_LABELS, CONCEPT_REJECTS, Table


def interpret_with_llm(
    spark: SparkSession,
    live_latents: DataFrame,
    concept_terms: DataFrame,
    latent_items: DataFrame,
    items: DataFrame,
    neighbours: DataFrame,
    settings: InterpretationSettings,
    prompt: Prompt,
    work_folder: Path,
    on_progress: Progress,
) -> tuple[DataFrame, DataFrame]:
    """Have a language model name every live latent (method.md section 5; RecSAE, arXiv 2411.06112).

    A latent whose answer is refused keeps the label made of its terms (interpreter ``terms``) and has a row among the
    rejects; a latent without any linked item or term is not asked about. Answers are kept in `work_folder`, by the
    content of the request: a second run asks only what has no answer yet. On the driver is never more than one
    request beside one label a latent.

    Parameters
    ----------
    live_latents : latent_id, one row a latent.
    concept_terms, latent_items, items : as the tables of these names.
    neighbours : latent_id, neighbour_id, rank (1 is the nearest).
    settings : section `interpretation`.
    prompt : system message.
    work_folder : folder of ``requests.jsonl`` and ``answers.jsonl``; made where it is missing.
    on_progress : see `run_inline`.

    Returns
    -------
    tuple[DataFrame, DataFrame]
        The columns of concept_labels, one row for each live latent, and of concept_rejects; both without dt and
        sae_version.

    Raises
    ------
    InputError : see `run_inline`.
    """
    work_folder.mkdir(parents=True, exist_ok=True)
    requests_path, answers_path = work_folder / "requests.jsonl", work_folder / "answers.jsonl"
    evidence = gather_request_evidence(live_latents, concept_terms, latent_items, items, neighbours, settings)
    rows = evidence.orderBy("latent_id").toLocalIterator()
    write_requests(requests_path, _build_requests(rows, settings, prompt))
    run_inline(requests_path, answers_path, settings.openai, on_progress)

    labels: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    for request, answer in _read_answers(requests_path, answers_path):
        latent_id, request_id = latent_of(request), request["custom_id"]
        if isinstance(answer, ConceptAnswer):
            origin = ("openai", settings.openai.model, prompt.version, request_id, "labelled")
            labels.append((latent_id, answer.label, answer.description, list(answer.features), *origin))
        else:
            rejects.append((latent_id, request_id, answer.reason, answer.answer))
    labelled = spark.createDataFrame(labels, _schema(CONCEPT_LABELS))
    by_terms = interpret_with_terms(live_latents, concept_terms, settings).join(labelled, "latent_id", "left_anti")
    return (
        labelled.unionByName(by_terms).select(*_schema(CONCEPT_LABELS).names),
        spark.createDataFrame(rejects, _schema(CONCEPT_REJECTS)),
    )


def _build_requests(rows: Iterator[Row], settings: InterpretationSettings, prompt: Prompt) -> Iterator[JsonObject]:
    for row in rows:
        if row["terms"] or row["linked_items"]:
            shown = describe_evidence(row["terms"] or [], row["linked_items"] or [], row["near_miss_items"] or [])
            yield build_request(row["latent_id"], shown, prompt, settings.openai)


def _read_answers(
    requests_path: Path, answers_path: Path
) -> Iterator[tuple[JsonObject, ConceptAnswer | RefusedAnswer]]:
    landed = index_answers(answers_path)
    if not landed:
        return
    with answers_path.open("rb") as answers:
        for request in read_requests(requests_path):
            place = landed.get(request["custom_id"])
            answer = None if place is None else read_answer_at(answers, place)
            yield request, read_answer(answer, shown_features(evidence_of(request)))


def _schema(table: Table) -> T.StructType:
    return T.StructType([field for field in table.schema.fields if field.name not in ("dt", "sae_version")])
