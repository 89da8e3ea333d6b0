"""The sample of concepts that people rate, with checks of the raters mixed in."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

CaseKind = Literal["concept", "repeat", "wrong_label"]

BANDS = ((0.8, "0.8 and above"), (0.6, "0.6 to 0.8"), (0.0, "below 0.6"))  # of confidence: from, name
CHECK_SHARE = 0.1  # of each sort of check, as a share of the concepts, but at least:
MINIMUM_CHECKS = 3
LABEL_TERMS = 3  # best terms of a concept, which its label is about
FITTING_SHARE = 0.2  # of the items shown that a wrong label may fit by chance


@dataclass(frozen=True)
class Concept:
    """A published concept with a label, as the sample is drawn from."""

    latent_id: int
    label: str
    description: str
    confidence: float | None
    interpretable: bool

    @property
    def stratum(self) -> str:
        """Band of confidence, and interpretable or not."""
        verdict = "interpretable" if self.interpretable else "not interpretable"
        if self.confidence is None:
            return f"not judged, {verdict}"
        band = next(name for low, name in BANDS if self.confidence >= low)
        return f"confidence {band}, {verdict}"


@dataclass(frozen=True)
class Evidence:
    """What is shown of one latent beside the label.

    Parameters
    ----------
    terms : significant terms, best first.
    items : title and item features of the items of the largest evidence, best first.
    """

    terms: tuple[str, ...]
    items: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Draw:
    """The concepts of a sample: those that are rated, and those whose evidence gets a wrong label."""

    rated: tuple[Concept, ...]
    mislabelled: tuple[Concept, ...]
    sizes: Mapping[str, int]

    @property
    def latents(self) -> list[int]:
        """Latents whose evidence is needed, once each."""
        return sorted({concept.latent_id for concept in (*self.rated, *self.mislabelled)})


@dataclass(frozen=True)
class RatingCase:
    """One case on the page, with what the page does not tell.

    Parameters
    ----------
    case_id : anonymous name, ``c`` and 6 hex digits.
    kind : concept; or repeat (a concept shown again) or wrong_label (the label of another concept), which check the
        rater.
    concept : whose evidence is shown.
    labelled_by : whose label and description are shown; `concept` itself but for wrong labels.
    stratum_concepts : published concepts with a label in the stratum of `concept`.
    """

    case_id: str
    kind: CaseKind
    concept: Concept
    labelled_by: Concept
    evidence: Evidence
    stratum_concepts: int


@dataclass(frozen=True)
class RatingSample:
    """A sample: its cases in the order of the page."""

    title: str
    cases: tuple[RatingCase, ...]

    @property
    def digest(self) -> str:
        """``s`` and 15 hex digits of the SHA-256 of title and cases: a spreadsheet cannot take it for a number."""
        content = json.dumps([self.title, [asdict(case) for case in self.cases]], ensure_ascii=False, sort_keys=True)
        return f"s{hashlib.sha256(content.encode()).hexdigest()[:15]}"


def draw_concepts(concepts: Iterable[Concept], number: int, seed: int) -> Draw:
    """Draw concepts at random within strata, and others whose evidence gets a wrong label.

    The strata are the bands of confidence (0.8 and above, 0.6 to 0.8, below 0.6, not judged) times interpretable or
    not. They share the sample as equally as their sizes allow, so that rare interpretable concepts are not drowned by
    the others; the weights `sizes` undo that in a mean. The same concepts, number and seed draw the same sample,
    whatever the order of the concepts.

    Parameters
    ----------
    concepts : one a latent.
    number : concepts to rate; all of them where there are fewer.
    """
    random = np.random.default_rng([seed, 1])
    ordered = sorted(concepts, key=lambda concept: concept.latent_id)
    sizes = Counter(concept.stratum for concept in ordered)
    rated: list[Concept] = []
    for stratum, share in sorted(equal_shares(sizes, number).items()):
        members = [concept for concept in ordered if concept.stratum == stratum]
        rated += [members[place] for place in random.permutation(len(members))[:share]]
    drawn = {concept.latent_id for concept in rated}
    others = [concept for concept in ordered if concept.latent_id not in drawn]
    # Few concepts: their evidence is shown twice, once with the right label.
    candidates = [group[place] for group in (others, rated) for place in random.permutation(len(group))]
    return Draw(tuple(rated), tuple(candidates[: number_of_checks(len(rated))]), dict(sizes))


def equal_shares(sizes: Mapping[str, int], number: int) -> dict[str, int]:
    """Split `number` over groups as equally as their sizes allow; what small groups leave goes to larger ones."""
    shares, left = {}, number
    for rank, (name, size) in enumerate(sorted(sizes.items(), key=lambda group: (group[1], group[0]))):
        shares[name] = min(size, left // (len(sizes) - rank))
        left -= shares[name]
    return shares


def number_of_checks(concepts: int) -> int:
    """How many checks of each sort go with so many concepts: a tenth, at least 3, never more than concepts."""
    return min(concepts, max(MINIMUM_CHECKS, round(CHECK_SHARE * concepts)))


def build_sample(title: str, draw: Draw, evidence: Mapping[int, Evidence], seed: int) -> RatingSample:
    """Lay out the cases: concepts and wrong labels shuffled, and repeats among the second half of them.

    A repeat shows a concept from the first places again, so that at least a quarter of the page lies between (less
    on pages of a few cases). A wrong label is that of the drawn concept whose three best terms fit the evidence shown
    least: none is among the terms, and they stand in the title or features of a fifth of the items at most. Where
    there is no such concept, the check is left out, as its label might be right.

    Parameters
    ----------
    title : of the page.
    draw : from `draw_concepts`.
    evidence : of each of `draw.latents`.
    """
    random = np.random.default_rng([seed, 2])
    everyone = [*draw.rated, *draw.mislabelled]
    pairs: list[tuple[CaseKind, Concept, Concept]] = [("concept", concept, concept) for concept in draw.rated]
    for concept in draw.mislabelled:
        donors = [everyone[place] for place in random.permutation(len(everyone))]
        donor = _most_different(concept, donors, evidence)
        if donor is not None:
            pairs.append(("wrong_label", concept, donor))
    shuffled = [pairs[place] for place in random.permutation(len(pairs))]
    half = len(shuffled) // 2
    early = [concept for kind, concept, _ in shuffled[:half] if kind == "concept"]
    late = [*shuffled[half:]]
    late += [("repeat", concept, concept) for concept in early[: number_of_checks(len(draw.rated))]]
    order = shuffled[:half] + [late[place] for place in random.permutation(len(late))]
    ids = random.choice(16**6, size=len(order), replace=False)
    return RatingSample(
        title,
        tuple(
            RatingCase(
                f"c{case_id:06x}",
                kind,
                concept,
                labelled_by,
                evidence[concept.latent_id],
                draw.sizes[concept.stratum],
            )
            for case_id, (kind, concept, labelled_by) in zip(ids, order, strict=True)
        ),
    )


def _most_different(concept: Concept, donors: Sequence[Concept], evidence: Mapping[int, Evidence]) -> Concept | None:
    """The donor whose best terms fit the evidence of `concept` least; None where even they might fit."""
    shown = evidence[concept.latent_id]
    shown_terms = {term.casefold() for term in shown.terms}

    def fit(donor: Concept) -> tuple[bool, int]:
        terms = {term.casefold() for term in evidence[donor.latent_id].terms[:LABEL_TERMS]}
        fitting = sum(_has_a_term(terms, title, features) for title, features in shown.items)
        might_be_right = (
            donor.label.casefold() == concept.label.casefold()
            or bool(terms & shown_terms)
            or fitting > FITTING_SHARE * len(shown.items)
        )
        return might_be_right, fitting

    best = min(donors, key=fit)
    return None if fit(best)[0] else best


def _has_a_term(terms: set[str], title: str, features: Sequence[str]) -> bool:
    return any(term in title.casefold() or term in map(str.casefold, features) for term in terms)
