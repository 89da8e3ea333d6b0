"""Concepts of a published audit as people look for them: best first, by a text, by an item; with their evidence.

All of it works on plain rows, and knows neither Spark nor PyIceberg. It holds the concepts, M rows, and what is asked
for; nothing that grows with users or items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsae_lib.config import Scope
from recsae_lib.platform.warehouse.rows import Among, Holding, PublishedRows, UpTo

Row = Mapping[str, Any]

UNNAMED = "unnamed"  # label of a latent without a significant term
# The tables that are read, and the scope by which their namespace is found.
TABLES: Mapping[str, Scope] = {
    "concepts": "audit",
    "concept_terms": "audit",
    "latent_items": "audit",
    "latent_effects": "audit",
    "items": "data",
}
CONCEPT = (
    *("latent_id", "label", "description", "status", "judge", "confidence", "confidence_low", "confidence_high"),
    *("q_value", "interpretable", "confirmed", "best_feature", "best_feature_auc", "output_feature", "output_score"),
    *("active_users", "density", "same_as", "artefact", "artefact_p_value", "found_again", "found_again_id"),
    *("removal_effect", "removal_low", "removal_high", "removal_other", "removal_p_value"),
)
ITEM = ("item_id", "title", "features", "derived_features")
SIGNIFICANT = Among("significant", (True,))


@dataclass(frozen=True)
class ItemLink:
    """What ties a concept to one item.

    Parameters
    ----------
    linked : row of latent_items: the item is among those of the users for whom the latent fires. None where it is not.
    pushed : row of latent_effects: a step along the latent pushes the item up or down most, by the sign of `rank`.
        None where it does neither, or effects were not measured.
    """

    linked: Row | None
    pushed: Row | None


def read_concepts(rows: PublishedRows) -> list[dict[str, Any]]:
    """All concepts, `best_first`."""
    return best_first(rows.read("concepts", CONCEPT))


def best_first(concepts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order concepts: confirmed, then interpretable, then by confidence; unlabelled ones last."""

    def place(concept: Row) -> tuple[float, ...]:
        confidence, q_value = concept["confidence"], concept["q_value"]
        return (
            not concept["confirmed"],
            not concept["interpretable"],
            concept["status"] == "unlabelled",
            float("inf") if confidence is None else -confidence,
            float("-inf") if q_value is None else q_value,
            concept["latent_id"],
        )

    return sorted(concepts, key=place)


def named_so(rows: PublishedRows, concepts: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The concepts that have a text in their label, their description or a significant term, whatever the case."""
    terms = rows.read("concept_terms", ("latent_id",), SIGNIFICANT, Holding("term", text))
    by_term, lowered = {row["latent_id"] for row in terms}, text.lower()
    return [
        concept
        for concept in concepts
        if concept["latent_id"] in by_term
        or any(lowered in (concept[name] or "").lower() for name in ("label", "description"))
    ]


def links_of(rows: PublishedRows, item: str) -> dict[int, ItemLink]:
    """What ties each latent to an item, by latent; nothing of those that it has nothing to do with."""
    of_item = Among("item_id", (item,))
    linked, pushed = (
        {row["latent_id"]: row for row in found}
        for found in (
            rows.read("latent_items", ("latent_id", "rank", "weight", "users"), of_item),
            rows.read("latent_effects", ("latent_id", "rank", "effect"), of_item, Among("kind", ("item",))),
        )
    )
    return {latent: ItemLink(linked.get(latent), pushed.get(latent)) for latent in linked.keys() | pushed.keys()}


def title_of(rows: PublishedRows, item: str) -> str | None:
    """Title of an item, empty where it has none; None where there is no such item."""
    found = rows.read("items", ("title",), Among("item_id", (item,)))
    return str(found[0]["title"] or "") if found else None


def evidence(
    rows: PublishedRows, latents: Sequence[int], depth: int
) -> tuple[dict[int, list[dict[str, Any]]], dict[int, list[dict[str, Any]]]]:
    """Significant terms, and items with title and features (derived ones last), by latent: up to rank `depth`, best
    first.
    """
    shown = Among("latent_id", tuple(latents)), UpTo("rank", depth)
    terms = rows.read("concept_terms", ("latent_id", "rank", "term", "kind", "z_score"), SIGNIFICANT, *shown)
    links = rows.read("latent_items", ("latent_id", "rank", "item_id"), *shown)
    ids = Among("item_id", tuple({row["item_id"] for row in links}))  # at most `depth` a latent
    catalogue = {row["item_id"]: row for row in rows.read("items", ITEM, ids)}
    items = [{**row, **_known_of(catalogue.get(row["item_id"]))} for row in links]
    return _by_latent(terms), _by_latent(items)


def _known_of(item: Row | None) -> dict[str, Any]:
    if item is None:
        return {"title": None, "features": []}
    return {"title": item["title"], "features": [*(item["features"] or ()), *(item["derived_features"] or ())]}


def _by_latent(rows: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["rank"])):
        grouped.setdefault(row["latent_id"], []).append(row)
    return grouped
