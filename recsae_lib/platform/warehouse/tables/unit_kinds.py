"""What the metrics of an audit are measured on."""

from __future__ import annotations

from enum import Enum


class UnitKind(str, Enum):
    """What one row of audit_metrics, concept_coverage or comparisons was measured on; its value stands in the tables.

    Parameters
    ----------
    heading : its name in what people read.
    meaning : what it is, in the comment of the column.
    """

    heading: str
    meaning: str

    def __new__(cls, value: str, heading: str, meaning: str) -> UnitKind:
        """Let the member be a string, with a heading and a meaning."""
        kind = str.__new__(cls, value)
        kind._value_, kind.heading, kind.meaning = value, heading, meaning
        return kind

    SAE = "sae", "SAE", "latents of the audited SAE"
    SHUFFLED = "shuffled", "SAE, shuffled labels", "its latents, each judged by the terms of another one"
    UNTRAINED = "untrained", "untrained SAE", "latents of the SAE as it was initialised at random"
    UNTRAINED_FITTED = "untrained_fitted", "untrained SAE, fitted decoder", "its latents with a decoder fitted to them"
    CLUSTER = "cluster", "clusters", "directions of k-means centroids of x"
    RANDOM_USER = "random_user", "random users", "directions of the x of users drawn at random"
    DIMENSION = "dimension", "dimensions", "raw dimensions of x, each sign a unit"
    RECOMMENDER = "recommender", "recommender", "its recommendations"
    RECONSTRUCTED = "reconstructed", "recommender, x̂ in place of x", "its recommendations from x̂ in place of x"
    ITEM_KNN = "item_knn", "item-kNN", "recommendations of the items nearest to a history"
    POPULARITY = "popularity", "popularity", "the most popular items for everybody"

    def __str__(self) -> str:
        """The value, also in f-strings and under every Python version."""
        return self.value


# Units that are named and judged alike; all others are recommendations, which are scored against held-out items.
JUDGED_UNITS = (
    *(UnitKind.SAE, UnitKind.SHUFFLED, UnitKind.UNTRAINED, UnitKind.UNTRAINED_FITTED),
    *(UnitKind.CLUSTER, UnitKind.RANDOM_USER, UnitKind.DIMENSION),
)
