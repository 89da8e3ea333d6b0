"""What a person sees at the end of an audit."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import functions as F

from recsae_lib.cli.findings import COLUMNS, unit_rows
from recsae_lib.cli.terminal import Terminal
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.tuning.reading import tuning_sentences
from recsae_lib.verification.figures import figure, text
from recsae_lib.verification.findings import better_baselines, headline


def print_summary(context: JobContext, seconds: Mapping[str, float], options: str) -> None:
    """Print what was found beside the baselines, then recommender, SAE and coverage, all from the published tables.

    Parameters
    ----------
    seconds : that each job took.
    options : of this command that others need to see the same tables (`options_in_use`).
    """
    terminal, warehouse = Terminal(width=130), context.warehouse
    published = warehouse.published()
    metrics = {
        (row["unit_kind"], row["metric"]): row["value"]
        for row in published.read(warehouse, tables.AUDIT_METRICS).collect()  # some hundred rows
    }

    def shown(unit_kind: str, metric: str, form: str = ".4f") -> str:
        return text(figure(metrics, unit_kind, metric), form)

    terminal.rule(f"Audit {context.namespaces['audit']}, dt={context.dt}, SAE version {context.sae_version}")
    terminal.line(headline(metrics))
    for sentence in better_baselines(metrics):
        terminal.line(sentence)
    terminal.tabulate(COLUMNS, unit_rows(metrics))
    split = "by time" if context.settings.recommender.split.by == "time" else "leave-one-out"
    cutoffs = [f"{metric}@{cutoff}" for metric in ("HR", "NDCG") for cutoff in (5, 10, 20, 50)]
    accuracy = [
        [
            name,
            *[shown(kind, f"{metric}_at_{cutoff}", ".3f") for metric in ("hr", "ndcg") for cutoff in (5, 10, 20, 50)],
            shown(kind, "catalogue_coverage_at_10", ".3f"),
            shown(kind, "average_popularity_at_10", ".0f"),
            shown(kind, "gini_at_10", ".3f"),
        ]
        for kind, name in (
            (UnitKind.RECOMMENDER, context.settings.recommender.kind),
            (UnitKind.RECONSTRUCTED, "  with x̂ in place of x"),
            (UnitKind.ITEM_KNN, UnitKind.ITEM_KNN.heading),
            (UnitKind.POPULARITY, UnitKind.POPULARITY.heading),
        )
    ]
    terminal.tabulate([f"full catalogue, {split}", *cutoffs, "coverage@10", "popularity@10", "Gini@10"], accuracy)
    terminal.line(f"{shown('recommender', 'tied_share', '.0%')} of the test items hang on a tie of time")
    if metrics.get((UnitKind.RECOMMENDER, "repeated_target_share")):
        terminal.line(
            f"{shown('recommender', 'repeated_target_share', '.0%')} of the test items had been seen by their user: no "
            "list holds them, and they count as missed"
        )
    terminal.line(
        f"SAE: FVU {shown('sae', 'fvu')}, within reach {shown('sae', 'fvu_within_reach')}, by user "
        f"{shown('sae', 'fvu_by_user_median')} (p90 {shown('sae', 'fvu_by_user_p90')}, "
        f"{shown('sae', 'worse_than_mean_share', '.1%')} worse than the mean), by dimension "
        f"{shown('sae', 'fvu_by_dimension')}, {shown('sae', 'users_beyond_reach', '.0f')} users beyond reach"
    )
    terminal.line(
        f"SAE: L0 {shown('sae', 'l0', '.2f')}, "
        f"dead latents {shown('sae', 'dead_fraction', '.1%')}, "
        f"NDCG@10 kept {shown('sae', 'ndcg_at_10_kept', '.1%')}"
    )

    terminal.line(
        f"left out: {shown('recommender', 'new_items', '.0f')} items and "
        f"{shown('recommender', 'left_out_users', '.0f')} users that the recommender does not know, with "
        f"{shown('recommender', 'left_out_share', '.1%')} of the interactions"
    )

    concepts = published.read(warehouse, tables.CONCEPTS).agg(
        F.count_if(F.col("status") == "unlabelled").alias("unnamed"),
        F.count("same_as").alias("twins"),
        F.count("artefact").alias("artefacts"),
    )
    for row in concepts.collect():  # one row
        terminal.line(
            f"latents: {row['unnamed']} unnamed (no significant term), {row['twins']} about the same thing as another "
            f"one with more users, {row['artefacts']} perhaps artefacts of a list (top items next to each other)"
        )

    if ("sae", "judge_agreement") in metrics:
        terminal.line(
            f"judge llm: {shown('sae', 'llm_interpretable_units', '.0f')} of "
            f"{shown('sae', 'llm_judged_units', '.0f')} judged latents interpretable, "
            f"{shown('sae', 'interpretable_by_both_judges', '.0f')} by both judges (interpretable in the table "
            f"concepts), mean confidence "
            f"{shown('sae', 'llm_mean_confidence', '.3f')}; the judges agree in "
            f"{shown('sae', 'judge_agreement', '.1%')} of the cases (kappa {shown('sae', 'judge_kappa', '.2f')}), "
            f"{shown('sae', 'llm_refused_answers', '.0f')} answers refused, "
            f"{shown('sae', 'llm_known_cases_misjudged', '.0f')} of them wrong of a known case"
        )

    rows = published.read(warehouse, tables.CONCEPT_COVERAGE).where("unit_kind = 'sae'").orderBy("min_confidence")
    shares = {"features": "feature_coverage", "shuffled": "shuffled_feature_coverage"}
    shares |= {"derived": "derived_feature_coverage", "items": "item_coverage", "users": "user_coverage"}
    coverage = [
        [
            f"≥ {row['min_confidence']:.1f}",
            str(row["units"]),
            *["–" if row[name] is None else f"{row[name]:.1%}" for name in shares.values()],
        ]
        for row in rows.collect()  # one row a confidence
    ]
    terminal.tabulate(("coverage of the SAE at confidence", "units", *shares), coverage)
    for sentence in tuning_sentences(published.read(warehouse, tables.TUNING_EFFECTS)):
        terminal.line(sentence)
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:3]
    terminal.line(
        f"{sum(seconds.values()):.0f} s in {len(seconds)} jobs (longest: "
        + ", ".join(f"{job} {time:.0f} s" for job, time in slowest)
        + ")"
    )
    of_site = options if context.site == DEFAULT_SITE else f"{options} --site {context.site}"
    terminal.line(
        f"Look next: `recsae concepts{of_site} --top 10` · `recsae concepts{of_site} --latent ID` · "
        f'`recsae sql{of_site} "SELECT * FROM concepts"` · `recsae versions{options}`',
        soft_wrap=True,
    )
