"""One concept as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from recsae_lib.concepts.listing import UNNAMED, ItemLink, Row
from recsae_lib.config import VerificationSettings

ORDERS = {"title": "titles", "id": "ids", "time": "first interactions"}


def concept_lines(
    concept: Row,
    terms: Sequence[Row],
    items: Sequence[Row],
    settings: VerificationSettings,
    link: ItemLink | None = None,
) -> list[str]:
    """One concept as people read it; the first line is its heading.

    A latent without a significant term has no label, whatever rows of earlier versions hold.

    Parameters
    ----------
    concept : row of concepts.
    terms, items : its significant terms, and its items with their titles, best first.
    settings : the limits that `verdict` holds it against.
    link : what ties it to the item that was asked for.
    """
    confidence = (
        f"not judged by {concept['judge']}"
        if concept["confidence"] is None
        else f"confidence {concept['confidence']:.2f} ({concept['confidence_low']:.2f} to "
        f"{concept['confidence_high']:.2f}), q {concept['q_value']:.3g}, judge {concept['judge']}"
    )
    lines = [
        f"latent {concept['latent_id']}: {UNNAMED if concept['status'] == 'unlabelled' else concept['label']}",
        *_of_item(link),
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


def _of_item(link: ItemLink | None) -> list[str]:
    """How a concept and the item that was asked for belong together: by who is shown it, and by what is done to it."""
    ties = []
    if link is not None and (linked := link.linked) is not None:
        users = f"{linked['users']:,} user" + ("" if linked["users"] == 1 else "s")
        ties.append(f"linked to the item (rank {linked['rank']}, {users})")
    if link is not None and (pushed := link.pushed) is not None:
        way = "up" if pushed["rank"] > 0 else "down"
        ties.append(f"pushes the item {way} (rank {pushed['rank']}, effect {pushed['effect']:+.3f})")
    return ["; ".join(ties)] if ties else []


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
