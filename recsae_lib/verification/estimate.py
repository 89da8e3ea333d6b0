"""How many cases there would be, and what judge llm would be asked of them, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.levels import activation_levels, level_edges
from recsae_lib.concepts.linking import linked_items, strongest_first
from recsae_lib.config import Settings, VerificationSettings
from recsae_lib.platform.llm.estimate import RequestEstimate
from recsae_lib.platform.llm.prompts import Prompt
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.requests import encode_untrusted
from recsae_lib.verification.known_cases import KNOWN_CASES, LONGEST_TEXT, fitting_items, unfitting_items
from recsae_lib.verification.llm_judge import describe_items, gather_cases
from recsae_lib.verification.sample_size import Z, cases_of_each_kind
from recsae_lib.verification.user_sample import is_drawn

SAMPLE_USERS = 1_000  # users, drawn by hash, whose linked items say how long a case is
VERDICT_CHARACTERS = len('{"case": 10, "fires": false}, ')
AROUND_VERDICTS = len('{"verdicts": []}')
AROUND_CASES = len(encode_untrusted({"concept": {"label": "", "description": ""}, "cases": []}))


@dataclass(frozen=True)
class CaseEstimate:
    """How many cases the latents would have.

    Parameters
    ----------
    latents : live ones.
    wanted : cases a latent that the settings ask for.
    full, some : latents with as many, and with fewer but any.
    cases : of all latents together.
    labelled_cases, labelled_requests : of the latents that have a label.
    concept_characters : of the labels and descriptions in those requests.
    watched_requests : of those requests the ones with known cases, as they hold several cases.
    fitting_characters : of an item that is what the concept says, in these requests.
    """

    latents: int
    wanted: int
    full: int
    some: int
    cases: int
    labelled_cases: int
    labelled_requests: int
    concept_characters: int
    watched_requests: int
    fitting_characters: int

    def lines(self) -> list[str]:
        """Say it for people."""
        width = Z / (self.wanted + Z**2) ** 0.5
        return [
            f"{self.latents:,} latents, {self.wanted} cases wanted of each: the 95 % interval of a confidence is then "
            f"at most {width:.3f} wide",
            f"the users give {self.full:,} latents as many cases, {self.some:,} fewer, and "
            f"{self.latents - self.full - self.some:,} none: {self.cases:,} cases in all",
        ]


def estimate_cases(
    levels: DataFrame, users: int, live_latents: DataFrame, labels: DataFrame, settings: VerificationSettings
) -> CaseEstimate:
    """Count the cases that `draw_cases` would find among the users of the verify half who judge, without drawing any.

        cases_l = 2 min(n, users with level >= minimum_level, users for whom l does not fire)

    Parameters
    ----------
    levels : (latent_id, level), the firing pairs of these users.
    users : how many they are.
    live_latents : (latent_id), once each.
    labels : (latent_id, label, description, status).
    settings : as of `cases_of_each_kind` and `write_judge_requests`.
    """
    per_kind = cases_of_each_kind(settings)
    counted = levels.groupBy("latent_id").agg(
        F.count(F.lit(1)).alias("firing"), F.count_if(F.col("level") >= settings.minimum_level).alias("eligible")
    )
    label, description = F.length("label"), F.length("description")
    described = labels.where("status = 'labelled'").select(
        "latent_id",
        (label + description).alias("characters"),
        (2 * label + F.least(description, F.lit(LONGEST_TEXT))).alias("fitting"),  # title and features, text
    )
    # A latent that nobody of the half fires has no row among the counted, and `least` would pass over the null.
    eligible, firing = (F.coalesce(name, F.lit(0)) for name in ("eligible", "firing"))
    found = 2 * F.least(F.lit(per_kind), eligible, F.lit(users) - firing)
    labelled = F.col("characters").isNotNull() & (F.col("cases") > 0)
    most = 2 * per_kind if settings.cases_per_request is None else settings.cases_per_request
    parts, last = F.ceil(F.col("cases") / most), (F.col("cases") - 1) % most + 1
    watched = F.lit(0) if most == 1 else parts - F.when(last == 1, 1).otherwise(0)
    row = (
        live_latents.join(counted, "latent_id", "left")
        .join(described, "latent_id", "left")
        .select(found.alias("cases"), "characters", "fitting")
        .agg(
            F.count(F.lit(1)).alias("latents"),
            F.count_if(F.col("cases") == 2 * per_kind).alias("full"),
            F.count_if((F.col("cases") > 0) & (F.col("cases") < 2 * per_kind)).alias("some"),
            *(
                F.coalesce(F.sum(number), F.lit(0)).alias(name)
                for name, number in (
                    ("cases", F.col("cases")),
                    ("labelled_cases", F.when(labelled, F.col("cases"))),
                    ("labelled_requests", F.when(labelled, parts)),
                    ("concept_characters", F.when(labelled, parts * F.col("characters"))),
                    ("watched_requests", F.when(labelled, watched)),
                    ("fitting_characters", F.when(labelled, watched * F.col("fitting"))),
                )
            ),
        )
        .first()
    )
    assert row is not None  # an aggregate without groups has one row
    return CaseEstimate(wanted=2 * per_kind, **row.asDict())


def estimate_judging(
    cases: CaseEstimate,
    users: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    settings: VerificationSettings,
    prompt: Prompt,
) -> RequestEstimate:
    """Estimate what judge llm would ask: the cases of `cases`, each as long as those of some thousand users are.

    Parameters
    ----------
    users : (user_id), of the verify half.
    linked, items : as of `write_judge_requests`.
    prompt : of the judge.
    """
    some = users.orderBy(F.xxhash64(F.lit("estimate"), "user_id"), "user_id").limit(SAMPLE_USERS)
    number = F.monotonically_increasing_id().cast("int")
    numbered = some.select(F.lit(0).alias("latent_id"), F.lit(0).alias("part"), number.alias("case"), "user_id")
    no_label = users.sparkSession.range(1).selectExpr("0 as latent_id", "'' as label", "'' as description")
    row = gather_cases(numbered, no_label, linked, items, settings).first()
    shown = [describe_items(case["items"]) for case in row["cases"]] if row else []
    a_case = sum(map(_characters, shown)) / max(len(shown), 1)
    size = max([1, *map(len, shown)])
    one_letter_each = _characters(fitting_items({"label": "a", "description": "b"}, size)) - 3 * size
    known = cases.watched_requests * (one_letter_each + _characters(unfitting_items("estimate", size)))
    known += cases.fitting_characters * size
    around = len(prompt.text) + AROUND_CASES
    return RequestEstimate(
        cases.labelled_requests,
        cases.labelled_requests * around + cases.concept_characters + cases.labelled_cases * a_case + known,
        cases.labelled_requests * AROUND_VERDICTS
        + (cases.labelled_cases + KNOWN_CASES * cases.watched_requests) * VERDICT_CHARACTERS,
    )


def _characters(items: Sequence[JsonObject]) -> int:
    """Of a case in a request, with the comma after it."""
    return len(encode_untrusted({"case": 0, "items": items})) + len(", ")


def estimate_verification(
    activations: DataFrame,
    recommendations: DataFrame,
    items: DataFrame,
    labels: DataFrame,
    settings: Settings,
    prompt: Prompt | None,
) -> list[str]:
    """Say for people how many cases there would be, and what a language model would be asked of them and cost.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations) of all users.
    recommendations : (user_id, item_ids, context_ids).
    items, labels : as of `write_judge_requests`.
    prompt : of judge llm; None where only the term scorer judges.
    """
    edges = level_edges(activations)
    verify = activations.where(~in_construct_half(F.col("user_id"), settings.evidence.salt))
    verify = verify.where(is_drawn(F.lit(max(verify.count(), 1)), settings))
    cases = estimate_cases(activation_levels(verify, edges), verify.count(), edges, labels, settings.verification)
    if prompt is None:
        hint = "judge terms asks nobody; --set 'verification.judges=[terms, llm]' estimates a language model"
        return [*cases.lines(), hint]
    linked = strongest_first(linked_items(recommendations, settings.evidence), settings.evidence)
    asked = estimate_judging(cases, verify.select("user_id"), linked, items, settings.verification, prompt)
    return [*cases.lines(), *asked.lines(settings.llm), "what has been answered before is not asked again"]
