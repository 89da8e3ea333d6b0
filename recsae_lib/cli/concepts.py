"""Published concepts with their evidence, for `recsae concepts`."""

from __future__ import annotations

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

ORDERS = {"title": "the order of titles", "id": "the order of ids", "time": "the order of first interactions"}


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
        verdict = "interpretable" if row["interpretable"] else "not interpretable"
        confidence = (
            f"not judged by {row['judge']}"
            if row["confidence"] is None
            else f"confidence {row['confidence']:.2f} ({row['confidence_low']:.2f} to {row['confidence_high']:.2f}), "
            f"q {row['q_value']:.3g}, judge {row['judge']}"
        )
        terminal.rule(f"latent {row['latent_id']}: {_name(row)}", align="left")
        terminal.line(f"{row['description']}")
        terminal.line(f"{verdict}, {confidence}; fires for {row['active_users']:,} users ({row['density']:.1%})")
        if row["same_as"] is not None:
            terminal.line(f"is about the same thing as latent {row['same_as']}, which has more users")
        if row["artefact"] is not None:
            terminal.line(
                f"may be an artefact of a list: the items stand next to each other in {ORDERS[row['artefact']]} "
                f"(p {row['artefact_p_value']:.2g})"
            )
        if row["best_feature"] is not None:
            terminal.line(f"tells apart best: {row['best_feature']} (ROC-AUC {row['best_feature_auc']:.2f})")
        named = (f"{t['term']} ({t['kind']}, z {t['z_score']:.1f})" for t in terms.get(row["latent_id"], []))
        terminal.line("terms: " + (", ".join(named) or "none is significant"))
        titles = (i["title"] or i["item_id"] for i in items_of.get(row["latent_id"], []))
        terminal.line("items: " + ("; ".join(titles) or "none from the construct half"))


def _name(row: Row) -> str:
    """The label; of rows of earlier versions too, unlabelled latents have none."""
    return UNNAMED if row["status"] == "unlabelled" else str(row["label"])
