"""The table of a study: the metrics of its audits as rows for the warehouse and as Markdown for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.flow.found_across import KINDS, FoundAcross
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import JUDGED_UNITS, UnitKind
from recsae_lib.verification.figures import NOTHING, confirmed, figure, over_seeds, text, with_interval

COVERAGES = (
    *("feature_coverage", "shuffled_feature_coverage", "derived_feature_coverage", "item_coverage", "user_coverage"),
)
VARIANTS = ("representation", "item_embedding", "item_text")
RECOMMENDER_COLUMNS = (
    "data set",
    "model",
    "HR@10",
    "NDCG@10",
    "NDCG@10 with x̂",
    "item-kNN",
    "popularity",
    "catalogue coverage@10",
    "average popularity@10",
    "Gini@10",
    "tied",
    "repeated",
    "training, s",
    "audit, s",
)
UNIT_COLUMNS = (
    "data set",
    "model",
    "units",
    "seeds",
    "FVU",
    "NDCG@10 kept",
    "dead",
    "live",
    "interpretable",
    "confirmed",
    "hard AUC",
    "removal",
    "at equal dose",
    "found again",
    "features by interpretable",
    "by confirmed",
    "coherence",
    "distinctiveness",
)
# Each the mean over seeds.
MEASURED = ("mean_hard_auc", "mean_removal_effect", "mean_removal_equal_dose", "found_again_share")
COVERED = ("feature_coverage_of_interpretable", "feature_coverage_of_confirmed")


@dataclass(frozen=True)
class AuditResult:
    """What was published of one audit.

    Parameters
    ----------
    data_set, model, site : what was audited.
    metrics : (unit kind, metric) → value: the table audit_metrics, and coverage as ``feature_coverage_at_0.8``.
    seconds : that each job took.
    """

    data_set: str
    model: str
    site: str
    metrics: Mapping[tuple[str, str], float | None]
    seconds: Mapping[str, float]

    def shown(self, unit_kind: str, metric: str, form: str = ".3f") -> str:
        """A metric for people; a dash where there is none. Shares drop the zero before the point."""
        return _short(text(figure(self.metrics, unit_kind, metric), form))

    def over_seeds(self, unit_kind: str, metric: str) -> str:
        """The mean of a metric over seeds, likewise."""
        return _short(text(over_seeds(self.metrics, unit_kind, metric), ".3f"))


def read_result(
    warehouse: Warehouse, data_set: str, model: str, site: str, seconds: Mapping[str, float]
) -> AuditResult:
    """Read the published metrics of an audit; some hundred rows."""
    published = warehouse.published()
    metrics: dict[tuple[str, str], float | None] = {
        (row["unit_kind"], row["metric"]): row["value"]
        for row in published.read(warehouse, tables.AUDIT_METRICS).collect()
    }
    for row in published.read(warehouse, tables.CONCEPT_COVERAGE).collect():
        for name in COVERAGES:
            metrics[row["unit_kind"], f"{name}_at_{row['min_confidence']:g}"] = row[name]
    return AuditResult(data_set, model, site, metrics, seconds)


def comparison_rows(
    spark: SparkSession, results: Iterable[AuditResult], across: Mapping[str, Sequence[FoundAcross]]
) -> DataFrame:
    """Return the rows of the table comparisons (without dt).

    Parameters
    ----------
    across : by data set, what its models find of each other: metrics ``found_in_<other model>``, with _low and _high.
    """
    rows: list[tuple[str, str, str, str, str, float | None]] = [
        (result.data_set, result.model, result.site, unit_kind, metric, value)
        for result in results
        for (unit_kind, metric), value in sorted(result.metrics.items())
    ]
    rows += [
        (data_set, one.model, DEFAULT_SITE, one.kind.value, f"found_in_{one.other}{end}", value)
        for data_set, found in across.items()
        for one in found
        for end, value in (("", one.share), ("_low", one.low), ("_high", one.high))
    ]
    return spark.createDataFrame(rows, tables.COMPARISONS.row_schema)


def as_markdown(results: Sequence[AuditResult], across: Mapping[str, Sequence[FoundAcross]]) -> str:
    """Lay the results out as tables: the recommenders, what was found in them, and what they share (`across`)."""
    recommenders = [
        [
            *_names(result),
            result.shown(UnitKind.RECOMMENDER, "hr_at_10"),
            result.shown(UnitKind.RECOMMENDER, "ndcg_at_10"),
            result.shown(UnitKind.RECONSTRUCTED, "ndcg_at_10"),
            result.shown(UnitKind.ITEM_KNN, "ndcg_at_10"),
            result.shown(UnitKind.POPULARITY, "ndcg_at_10"),
            result.shown(UnitKind.RECOMMENDER, "catalogue_coverage_at_10"),
            result.shown(UnitKind.RECOMMENDER, "average_popularity_at_10", ".0f"),
            result.shown(UnitKind.RECOMMENDER, "gini_at_10"),
            result.shown(UnitKind.RECOMMENDER, "tied_share"),
            result.shown(UnitKind.RECOMMENDER, "repeated_target_share"),
            f"{result.seconds.get('train_recommender', 0):.0f}",
            f"{sum(result.seconds.values()):.0f}",
        ]
        for result in results
    ]
    units = [
        [
            *_names(result),
            kind.heading,
            result.shown(kind, "seeds", ".0f"),
            result.over_seeds(kind, "fvu"),
            result.over_seeds(kind, "ndcg_at_10_kept"),
            result.shown(kind, "dead_fraction") if kind == UnitKind.SAE else "",
            result.shown(kind, "live_units", ".0f"),
            with_interval(result.metrics, kind, "interpretable_units"),
            confirmed(result.metrics, kind),
            *(result.over_seeds(kind, metric) for metric in (*MEASURED, *COVERED)),
            *(
                " / ".join(result.shown(kind, f"{metric}_{variant}") for variant in VARIANTS)
                for metric in ("coherence", "distinctiveness")
            ),
        ]
        for result in results
        for kind in JUDGED_UNITS
    ]
    return "\n".join(
        [
            "Recommenders (test items over the full catalogue; x̂: representations reconstructed by the SAE; "
            "of the test items, tied: share that hang on a tie of time; repeated: share seen before, and missed):",
            "",
            *_table(RECOMMENDER_COLUMNS, recommenders),
            "",
            "Units found in them (interpretable and confirmed ones: mean over seeds ± half of its 95 % interval; "
            "features: share of the item features that they reach; coherence and distinctiveness by representation / "
            "item embedding / item text):",
            "",
            *_table(UNIT_COLUMNS, units),
            "",
            *_across_lines(across),
        ]
    )


def _across_lines(across: Mapping[str, Sequence[FoundAcross]]) -> list[str]:
    """Lines of the table of what models share; none where no data set has two of them."""
    pairs: dict[tuple[str, str, str], dict[UnitKind, str]] = {}
    for data_set, found in across.items():
        for one in found:
            shown = f"{_short(f'{one.share:.2f}')} ({_short(f'{one.low:.2f}')}–{_short(f'{one.high:.2f}')})"
            pairs.setdefault((data_set, one.model, one.other), {})[one.kind] = shown
    if not pairs:
        return []
    rows = [[*names, *(cells.get(kind, NOTHING) for kind in KINDS)] for names, cells in pairs.items()]
    return [
        "Units found again in another recommender (share of those that fire, and its 95 % interval over units; users: "
        "the same held-out ones):",
        "",
        *_table(("data set", "model", "found in", *(kind.heading for kind in KINDS)), rows),
        "",
    ]


def _short(shown: str) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", shown)


def _names(result: AuditResult) -> tuple[str, str]:
    return result.data_set, result.model if result.site == "last" else f"{result.model}, site {result.site}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in [columns, *rows]]
    return [lines[0], f"| {' | '.join('---' for _ in columns)} |", *lines[1:]]
