"""Published concepts with their evidence, for `recsae concepts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Row
from pyspark.sql import functions as F

from recsae_lib.cli.terminal import Terminal
from recsae_lib.concepts.publication import published_evidence
from recsae_lib.errors import InputError
from recsae_lib.interpretation.terms_interpreter import UNNAMED
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.reports import reports_folder
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import newest_publication, publications
from recsae_lib.platform.warehouse.read_point import read_point_of

ORDERS = {"title": "titles", "id": "ids", "time": "first interactions"}


def print_concepts(context: JobContext, top: int, latent: int | None, exact_dt: date | None) -> None:
    """Print published concepts of one date (the newest published one unless given).

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
    shown = concepts.orderBy(F.desc_nulls_last("confidence"), "q_value", "latent_id").limit(top).collect()
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
        heading, *lines = concept_lines(row, terms.get(row["latent_id"], []), items_of.get(row["latent_id"], []))
        terminal.rule(heading, align="left")
        for line in lines:
            terminal.line(line)


def concept_lines(concept: Row, terms: Sequence[Row], items: Sequence[Row]) -> list[str]:
    """One concept as people read it; the first line is its heading.

    A latent without a significant term has no label, whatever rows of earlier versions hold.

    Parameters
    ----------
    concept : row of concepts.
    terms, items : its significant terms, and its items with their titles, best first.
    """
    verdict = "interpretable" if concept["interpretable"] else "not interpretable"
    confidence = (
        f"not judged by {concept['judge']}"
        if concept["confidence"] is None
        else f"confidence {concept['confidence']:.2f} ({concept['confidence_low']:.2f} to "
        f"{concept['confidence_high']:.2f}), q {concept['q_value']:.3g}, judge {concept['judge']}"
    )
    lines = [
        f"latent {concept['latent_id']}: {UNNAMED if concept['status'] == 'unlabelled' else concept['label']}",
        f"{concept['description']}",
        f"{verdict}, {confidence}; fires for {concept['active_users']:,} users ({concept['density']:.1%})",
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
    named = (f"{t['term']} ({t['kind']}, z {t['z_score']:.1f})" for t in terms)
    titles = (i["title"] or i["item_id"] for i in items)
    lines.append("terms: " + (", ".join(named) or "none is significant"))
    lines.append("items: " + ("; ".join(titles) or "none from the construct half"))
    return lines
