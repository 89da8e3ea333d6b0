"""Published concepts with their evidence, for `recsae concepts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsae_lib.cli.terminal import Terminal
from recsae_lib.concepts.publication import published_evidence
from recsae_lib.config import VerificationSettings
from recsae_lib.errors import InputError
from recsae_lib.interpretation.terms_interpreter import UNNAMED
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.reports import reports_folder
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import newest_publication, publications
from recsae_lib.platform.warehouse.read_point import read_point_of

ORDERS = {"title": "titles", "id": "ids", "time": "first interactions"}


def print_concepts(context: JobContext, top: int, latent: int | None, exact_dt: date | None) -> None:
    """Print published concepts of one date (the newest published one unless given): confirmed ones first.

    Raises
    ------
    InputError : nothing is published, or there is no such latent.
    """
    found = publications(context.warehouse)
    dt = exact_dt or newest_publication(context.warehouse, found).dt
    warehouse, point = context.warehouse.at(dt), read_point_of(found, dt)
    concepts = point.read(warehouse, tables.CONCEPTS)
    if latent is not None:
        concepts = concepts.where(F.col("latent_id") == latent)
    shown = best_first(concepts).limit(top).collect()
    namespace, branch = context.namespaces["audit"], warehouse.branch
    if not shown and branch in warehouse.references(tables.CONCEPTS):
        raise InputError(
            f"The concepts of {namespace} for dt={dt} are not published: they are on the branch {branch}",
            f"`recsae sql \"SELECT * FROM {namespace}.concepts VERSION AS OF '{branch}'\"` shows them; why is in "
            f"{reports_folder(context.settings.paths, namespace, dt) / 'checks.json'}",
        )
    if not shown:
        wanted = f"latent {latent}" if latent is not None else "concepts"
        raise InputError(
            f"There are no published {wanted} of {namespace} for dt={dt}",
            "A dead latent has no concept; `recsae sql` shows all",
        )
    ids = [row["latent_id"] for row in shown]
    depth = 10 if latent is None else 25
    terms, items_of = published_evidence(warehouse, point, ids, depth)
    terminal = Terminal(width=110)
    terminal.line(f"Concepts of {namespace}, dt={dt}, SAE version {shown[0]['sae_version']}")
    for row in shown:
        evidence = terms.get(row["latent_id"], []), items_of.get(row["latent_id"], [])
        heading, *lines = concept_lines(row, *evidence, context.settings.verification)
        terminal.rule(heading, align="left")
        for line in lines:
            terminal.line(line)


def best_first(concepts: DataFrame) -> DataFrame:
    """Order concepts: confirmed, then interpretable, then by confidence, unnamed ones last."""
    verdicts = [F.coalesce(verdict, F.lit(False)).desc() for verdict in ("confirmed", "interpretable")]
    surest = [F.desc_nulls_last("confidence"), F.col("q_value"), F.col("latent_id")]
    return concepts.orderBy(*verdicts, F.col("status") == "unlabelled", *surest)


def concept_lines(
    concept: Row, terms: Sequence[Row], items: Sequence[Row], settings: VerificationSettings
) -> list[str]:
    """One concept as people read it; the first line is its heading.

    A latent without a significant term has no label, whatever rows of earlier versions hold.

    Parameters
    ----------
    concept : row of concepts.
    terms, items : its significant terms, and its items with their titles, best first.
    settings : the limits that `verdict` holds it against.
    """
    confidence = (
        f"not judged by {concept['judge']}"
        if concept["confidence"] is None
        else f"confidence {concept['confidence']:.2f} ({concept['confidence_low']:.2f} to "
        f"{concept['confidence_high']:.2f}), q {concept['q_value']:.3g}, judge {concept['judge']}"
    )
    lines = [
        f"latent {concept['latent_id']}: {UNNAMED if concept['status'] == 'unlabelled' else concept['label']}",
        f"{concept['description']}",
        verdict(concept, settings),
        f"{confidence}; fires for {concept['active_users']:,} users ({concept['density']:.1%})",
        *_removal(concept),
        *_found_again(concept),
    ]
    if concept["same_as"] is not None:
        lines.append(f"is about the same thing as latent {concept['same_as']}, which has the most users")
    if concept["artefact"] is not None:
        order = ORDERS.get(concept["artefact"], concept["artefact"])
        lines.append(
            f"may be an artefact of a list: the items stand next to each other in the order of {order} "
            f"(p {concept['artefact_p_value']:.2g})"
        )
    if concept["best_feature"] is not None:
        lines.append(f"tells apart best: {concept['best_feature']} (ROC-AUC {concept['best_feature_auc']:.2f})")
    if concept["output_feature"] is not None:
        lines.append(f"pushes up most: {concept['output_feature']} (output score {concept['output_score']:.2f})")
    named = (f"{t['term']} ({t['kind']}, z {t['z_score']:.1f})" for t in terms)
    titles = (i["title"] or i["item_id"] for i in items)
    lines.append("terms: " + (", ".join(named) or "none is significant"))
    lines.append("items: " + ("; ".join(titles) or "none from the construct half"))
    return lines


def verdict(concept: Row, settings: VerificationSettings) -> str:
    """Confirmed, interpretable or not, and what is missing for it.

    Parameters
    ----------
    concept : row of concepts; `confirmed` is null in rows of earlier versions.
    settings : the limits of `verification` now.
    """
    if concept["confirmed"]:
        return "confirmed"
    if concept["interpretable"]:
        if concept["confirmed"] is None:
            return "interpretable"
        return _with_reasons("interpretable, not confirmed", _missing_to_confirm(concept, settings))
    return _with_reasons("not interpretable", _missing_to_interpret(concept, settings))


def _with_reasons(said: str, missing: Sequence[str]) -> str:
    return f"{said}: {'; '.join(missing)}" if missing else said


def _missing_to_interpret(concept: Row, settings: VerificationSettings) -> list[str]:
    if concept["status"] == "unlabelled":
        return ["no significant term names it"]
    confidence, q_value = concept["confidence"], concept["q_value"]
    if confidence is None:
        return ["it was not judged"]
    missing = []
    if confidence < settings.confidence:
        missing.append(f"confidence {confidence:.2f}, {settings.confidence:.2f} asked for")
    if q_value is not None and q_value >= settings.significance:
        missing.append(f"chance does as well (q {q_value:.2g})")
    return missing or ["another judge does not find it so"]


def _missing_to_confirm(concept: Row, settings: VerificationSettings) -> list[str]:
    missing = []
    effect, p_value, found = (concept[name] for name in ("removal_effect", "removal_p_value", "found_again"))
    if effect is None:
        missing.append("removal was not measured")
    elif effect < settings.minimum_removal:
        missing.append(f"removal takes {effect:.0%} of its name, {settings.minimum_removal:.0%} asked for")
    elif p_value >= settings.significance:
        missing.append(f"another direction takes as much (p {p_value:.2g})")
    if found is None:
        missing.append("there is no SAE of another seed")
    elif found < settings.minimum_found_again:
        missing.append(f"not found again: r {_short(found)}, {_short(settings.minimum_found_again)} asked for")
    return missing


def _removal(concept: Row) -> list[str]:
    if concept["removal_effect"] is None:
        return []
    effect, low, high, other = (concept[f"removal_{name}"] for name in ("effect", "low", "high", "other"))
    return [
        f"removal takes {effect:.0%} ({low:.0%} to {high:.0%}) of its name out of the lists; another direction takes "
        f"{other:.0%} (p {concept['removal_p_value']:.2g})"
    ]


def _found_again(concept: Row) -> list[str]:
    if concept["found_again"] is None:
        return []
    if concept["found_again_id"] is None:
        return ["in the SAE of another seed: nothing like it"]
    return [f"in the SAE of another seed: latent {concept['found_again_id']}, r {_short(concept['found_again'])}"]


def _short(correlation: float) -> str:
    return f"{correlation:.2f}".replace("0.", ".", 1)
