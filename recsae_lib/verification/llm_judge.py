"""The language model as judge: many cases of one latent in a request, verdicts back, all checked or none used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from recsae_lib.config import LlmSettings, VerificationSettings
from recsae_lib.interpretation.request_evidence import shown_items_of
from recsae_lib.interpretation.requests import describe_item
from recsae_lib.platform.llm.answers import AnswerSchema, RefusedAnswer, read_json
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.prompts import Prompt, version_of
from recsae_lib.platform.llm.request_files import JsonObject, read_requests, write_requests
from recsae_lib.platform.llm.requests import build_request, shown_in, subject_of
from recsae_lib.platform.spark.frames import local_frame
from recsae_lib.verification.known_cases import (
    KNOWN_CASES,
    LONGEST_TEXT,
    MISJUDGED,
    add_known_cases,
    known_verdicts,
)

LONGEST_LABEL, LONGEST_DESCRIPTION = 200, 1_000
TOKENS_A_VERDICT = 16  # that an answer may take beyond `max_answer_tokens`; {"case": 100, "fires": false} has 11 or so
CHARACTERS_A_VERDICT = 200  # longest that is read of an answer for each case, however widely it is spaced

VERDICTS = AnswerSchema(
    "verdicts",
    {
        "type": "object",
        "properties": {
            "verdicts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"case": {"type": "integer"}, "fires": {"type": "boolean"}},
                    "required": ["case", "fires"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["verdicts"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True)
class LlmVerdicts:
    """What a language model said of the held-out cases.

    Parameters
    ----------
    cases : (latent_id, user_id, kind, fires, judged), only of latents of which all cases were judged.
    rejects : (latent_id, request_id, reason, answer).
    origin : model and version of the prompt; None where nobody was asked.
    """

    cases: DataFrame
    rejects: DataFrame
    origin: tuple[str | None, str | None]


def write_judge_requests(
    requests_path: Path,
    cases: DataFrame,
    labels: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    settings: VerificationSettings,
    server: LlmSettings,
    prompt: Prompt,
    seed: int,
) -> None:
    """Write the requests that have a language model judge the cases of every labelled latent (METHOD.md section 6;
    RecSAE 2411.06112).

    The judge sees label, description and the linked items of users, under numbers in an order drawn by hash. It sees
    neither the activation, the kind of a case, which and how many cases are positive, who the users are, nor which
    latent it is. Where a request shows several cases, two more of known verdict are among them (`known_cases`). A
    latent without a label is not asked about. Cases and items are joined by Spark and reach the driver one request
    after the other.

    Parameters
    ----------
    requests_path : file that is written; its folder exists.
    cases : (latent_id, user_id, kind, fires), the cases of the verify half.
    labels : (latent_id, label, description, status).
    linked : (user_id, item_ids), the strongest items of a user first.
    items : (item_id, title, text, features).
    settings : `judge_items`, `judge_temperature` and `cases_per_request` are read.
    server : model, and how long an answer may be.
    prompt : system message.
    seed : of the order of cases, and of the places of known ones.
    """
    labelled = labels.where("status = 'labelled'")
    numbered = number_cases(cases.join(labelled.select("latent_id"), "latent_id", "left_semi"), settings, seed)
    shown = gather_cases(numbered, labelled, linked, items, settings)
    rows = shown.orderBy("latent_id", "part").toLocalIterator()
    write_requests(requests_path, build_judge_requests(rows, settings, server, prompt, seed))


def read_judged_cases(ledger: Ledger, cases: DataFrame, settings: VerificationSettings, seed: int) -> LlmVerdicts:
    """Turn the answers that the ledger holds to its requests into judged cases and rejects.

    A latent one of whose requests has no valid answer has no verdict at all and a row among the rejects: what is left
    of its cases would no longer be half positive. What the driver holds is a boolean for each case.

    Parameters
    ----------
    ledger : on the file of `write_judge_requests`, after `transports.collect`.
    cases, settings, seed : as for `write_judge_requests`; the cases of further latents do no harm.
    """
    spark = cases.sparkSession
    verdicts, rejects = _read_answers(ledger, seed)
    judged = (
        number_cases(cases, settings, seed)
        .join(F.broadcast(local_frame(spark, verdicts, "latent_id int, verdicts array<boolean>")), "latent_id", "inner")
        .select("latent_id", "user_id", "kind", "fires", F.element_at("verdicts", F.col("case")).alias("judged"))
    )
    reject_columns = "latent_id int, request_id string, reason string, answer string"
    origin: tuple[str | None, str | None] = (None, None)
    if (request := next(read_requests(ledger.requests_path), None)) is not None:
        origin = request["body"]["model"], version_of(request["body"]["messages"][0]["content"])
    return LlmVerdicts(judged, local_frame(spark, rejects, reject_columns), origin)


def number_cases(cases: DataFrame, settings: VerificationSettings, seed: int) -> DataFrame:
    """Number the cases of each latent from 1 in an order drawn by hash, and cut them into requests.

    Returns
    -------
    DataFrame : (latent_id INT, part INT, case INT, user_id STRING, kind STRING, fires BOOLEAN); `case` runs on from
        one part, which is one request, to the next.
    """
    place = F.xxhash64(F.lit("judge"), F.lit(seed), "latent_id", "user_id")
    number = F.row_number().over(Window.partitionBy("latent_id").orderBy(place, "user_id"))
    per_request = settings.cases_per_request
    part = F.lit(0) if per_request is None else F.floor((F.col("case") - 1) / per_request).cast("int")
    return (
        cases.select("latent_id", "user_id", "kind", "fires", number.alias("case"))
        .withColumn("part", part)
        .select("latent_id", "part", "case", "user_id", "kind", "fires")
    )


def gather_cases(
    numbered: DataFrame, labels: DataFrame, linked: DataFrame, items: DataFrame, settings: VerificationSettings
) -> DataFrame:
    """Gather what each request shows; items that the catalogue does not hold are left out.

    Returns
    -------
    DataFrame
        (latent_id, part, label, description, cases ARRAY<STRUCT<case, items>>) by rising case number, an item being
        (title, text, features) of bounded length, `judge_items` a case at most.
    """
    first_items = F.slice(F.array_distinct("item_ids"), 1, settings.judge_items)
    items_of_case = (
        numbered.select("latent_id", "part", "case", "user_id")
        .join(linked.select("user_id", first_items.alias("item_ids")), "user_id", "left")
        .select("latent_id", "part", "case", F.posexplode_outer("item_ids").alias("place", "item_id"))
        .join(shown_items_of(items, LONGEST_TEXT), "item_id", "left")
    )
    item = F.when(F.col("title").isNotNull(), F.struct("place", "title", "text", "features"))
    return (
        items_of_case.groupBy("latent_id", "part", "case")
        .agg(F.sort_array(F.collect_list(item)).alias("items"))
        .groupBy("latent_id", "part")
        .agg(F.sort_array(F.collect_list(F.struct("case", "items"))).alias("cases"))
        .join(
            labels.select(
                "latent_id",
                F.substring("label", 1, LONGEST_LABEL).alias("label"),
                F.substring("description", 1, LONGEST_DESCRIPTION).alias("description"),
            ),
            "latent_id",
            "inner",
        )
        .select("latent_id", "part", "label", "description", "cases")
    )


def build_judge_requests(
    rows: Iterator[Row], settings: VerificationSettings, server: LlmSettings, prompt: Prompt, seed: int
) -> Iterator[JsonObject]:
    """Build a request of each row of `gather_cases`, which shows the concept, its cases, and known ones among them.

    The numbers run on from one request of a latent to the next, so that no two requests are the same.
    """
    for row in rows:
        concept = {"label": row["label"], "description": row["description"]}
        known_before = 0 if settings.cases_per_request == 1 else KNOWN_CASES * row["part"]
        others = [describe_items(case["items"]) for case in row["cases"]]
        cases = add_known_cases(others, concept, row["latent_id"], row["cases"][0]["case"] + known_before, seed)
        yield build_request(
            "judge",
            row["latent_id"],
            prompt,
            {"concept": concept, "cases": cases},
            VERDICTS,
            server,
            temperature=settings.judge_temperature,
            longest_answer=server.max_answer_tokens + TOKENS_A_VERDICT * len(cases),
        )


def describe_items(items: Sequence[Row]) -> list[JsonObject]:
    """What the judge sees of the items of a case."""
    return [describe_item(item.asDict()) for item in items]


def read_verdicts(
    answer: JsonObject | None, cases: Sequence[int], known: Mapping[int, bool]
) -> tuple[bool, ...] | RefusedAnswer:
    """Turn one line of an answers file into the verdicts of a request, or a refusal. Answers are untrusted.

    Refused is what `read_json` refuses, an answer that does not name every case of the request exactly once, and one
    that is wrong of a known case: a text among the cases has steered it, or the model cannot judge.

    Parameters
    ----------
    answer : the line, None where the request has none.
    cases : numbers of the cases in the request.
    known : of them those whose verdict is known, with the verdict.

    Returns
    -------
    tuple[bool, ...] | RefusedAnswer : whether the judge says that the latent fires, in the order of `cases`, without
        the known ones.
    """
    content = read_json(answer, VERDICTS, longest=CHARACTERS_A_VERDICT * (1 + len(cases)))
    if isinstance(content, RefusedAnswer):
        return content
    verdicts = content.value["verdicts"]
    fires = {verdict["case"]: verdict["fires"] for verdict in verdicts}
    if len(fires) < len(verdicts):
        return RefusedAnswer("a case is judged twice", content.text)
    if unknown := len(fires.keys() - set(cases)):
        return RefusedAnswer(f"{unknown} verdicts are about no case of the request", content.text)
    if missing := len(set(cases) - fires.keys()):
        return RefusedAnswer(f"{missing} of {len(cases)} cases are not judged", content.text)
    if any(fires[case] != right for case, right in known.items()):
        return RefusedAnswer(MISJUDGED, content.text)
    return tuple(fires[case] for case in cases if case not in known)


def is_refused(request: JsonObject, answer: JsonObject | None, seed: int) -> bool:
    """Whether an answer to a request of `write_judge_requests` with this seed gives no verdicts."""
    return isinstance(_read_answer(request, answer, seed), RefusedAnswer)


def _read_answer(request: JsonObject, answer: JsonObject | None, seed: int) -> tuple[bool, ...] | RefusedAnswer:
    cases = [case["case"] for case in shown_in(request)["cases"]]
    return read_verdicts(answer, cases, known_verdicts(cases, subject_of(request), seed))


def _read_answers(ledger: Ledger, seed: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Read the answers, latent by latent: (latent, verdicts by case number) where all are valid, and rejects."""
    judged: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    for latent_id, of_latent in groupby(ledger.read_answers(), lambda exchange: subject_of(exchange[0])):
        verdicts: list[bool] = []
        refused: list[tuple[Any, ...]] = []
        for request, answer in of_latent:
            read = _read_answer(request, answer, seed)
            if isinstance(read, RefusedAnswer):
                refused.append((latent_id, request["custom_id"], read.reason, read.answer))
            else:
                verdicts.extend(read)
        rejects += refused
        if not refused:
            judged.append((latent_id, verdicts))
    return judged, rejects
