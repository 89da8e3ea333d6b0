"""`recsae ratings`: concepts to people, and what they say of them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae_lib.cli.parsing import add_site, command
from recsae_lib.cli.terminal import Terminal
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of

if TYPE_CHECKING:  # `recsae --help` does not wait for pandas
    from recsae_lib.ratings.exchange import Exported, Imported
    from recsae_lib.ratings.scores import RatingMetric


def add_to(commands: Any) -> None:
    """Add `recsae ratings` with its three actions."""
    summary = "have people rate published concepts"
    ratings = commands.add_parser("ratings", help=summary, description=summary.capitalize() + ".")
    ratings.epilog = (
        "export writes the page and the sheet; send them to raters, who send back CSV files; import stores these; "
        "report says what people think of the concepts, how far they agree, and whether the judge agrees with them."
    )
    actions = ratings.add_subparsers(required=True, metavar="ACTION")
    export = command(
        actions, "export", "draw a sample of published concepts and write it as a page and as a sheet", _export_ratings
    )
    export.add_argument("--concepts", type=int, default=50, metavar="N", help="concepts to rate (default 50)")
    export.epilog = (
        "The page is one HTML file that works offline. Strata (confidence times interpretable) share the sample as "
        "equally as they can. Some concepts come twice and some labels are wrong: they check the raters; the key is "
        "kept in the table rating_samples. The same date, N and seed give the same page. Without --dt: the newest "
        "published audit."
    )
    importing = command(actions, "import", "store the files that raters sent back", _import_ratings)
    importing.add_argument("files", type=Path, nargs="+", metavar="FILE", help="CSV of the page, or the filled sheet")
    importing.epilog = (
        "Ratings go to concept_ratings under the date of their audit, refused rows with the reason to rating_rejects. "
        "What a rater sends again for a sample replaces all of their ratings of it; the same file changes nothing. "
        "With --dt: samples of this date only."
    )
    report = command(
        actions, "report", "mean relevance, agreement, raters, and the judge beside people", _report_ratings
    )
    report.epilog = "Everything is also written to rating_metrics. Without --dt: the newest audit with ratings."
    for parser in (export, importing, report):
        add_site(parser)


def _export_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import export_ratings

    if arguments.concepts < 1:
        raise InputError(f"--concepts is {arguments.concepts}", "Give the number of concepts to rate, 1 or more")
    context = context_of(arguments, "ratings").at_site(arguments.site)
    print_export(export_ratings(context, arguments.concepts, exact_dt=arguments.dt))


def _import_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import import_ratings

    context = context_of(arguments, "ratings").at_site(arguments.site)
    imported = import_ratings(context, arguments.files, exact_dt=arguments.dt)
    print_import(imported)
    if not imported.rows.accepted:
        raise InputError("No rating was accepted", "The table rating_rejects says why of each row")


def _report_ratings(arguments: argparse.Namespace) -> None:
    from recsae_lib.ratings.exchange import report_ratings

    context = context_of(arguments, "ratings").at_site(arguments.site)
    for name, metrics in report_ratings(context, exact_dt=arguments.dt).items():
        print_report(name, metrics)


def print_export(exported: Exported) -> None:
    """Print how the sample was drawn, and where page and sheet lie."""
    kinds = Counter(case.kind for case in exported.sample.cases)
    terminal = Terminal(width=110)
    terminal.line(
        f"{len(exported.sample.cases)} cases: {kinds['concept']} of {exported.labelled:,} concepts with a label "
        f"({exported.concepts - exported.labelled:,} without one are left out), {kinds['repeat']} shown again, "
        f"{kinds['wrong_label']} with a wrong label"
    )
    for stratum, size in sorted(exported.draw.sizes.items()):
        drawn = sum(concept.stratum == stratum for concept in exported.draw.rated)
        terminal.line(f"  {stratum}: {drawn} of {size:,}")
    for file in exported.files:
        terminal.line(str(file), soft_wrap=True)


def print_import(imported: Imported) -> None:
    """Print what was taken of each rater, and what was refused and why."""
    terminal = Terminal(width=110)
    accepted = Counter((row.sample, row.rater) for row in imported.rows.accepted)
    for (sample, rater), ratings in sorted(accepted.items()):
        replaced = f", in the place of {imported.replaced[sample, rater]}" if imported.replaced[sample, rater] else ""
        terminal.line(f"{rater}: {ratings} ratings of sample {sample}{replaced}")
    if imported.rows.unrated:
        terminal.line(f"{len(imported.rows.unrated)} rows have no rating yet")
    reasons = Counter((refused.row.file, refused.reason) for refused in imported.rows.refused)
    for (file, reason), count in sorted(reasons.items()):
        terminal.line(f"refused {count} of {file}: {reason}")


def print_report(name: str, metrics: list[RatingMetric]) -> None:
    """Print what people say of a sample."""
    from recsae_lib.ratings.scores import figures_of

    terminal = Terminal(width=130)
    terminal.rule(f"Ratings of {name}")
    subjects = list(dict.fromkeys(metric.subject for metric in metrics if not metric.subject.startswith("rater: ")))
    relevance: list[list[str]] = []
    for subject in subjects:
        cells: list[str] = []
        for raters in ("all", "attentive"):
            figures = figures_of(metrics, raters, subject)
            cells += [_shown(figures.get("mean_relevance")), _interval(figures)]
        everyone = figures_of(metrics, "all", subject)
        counted = [_shown(everyone["concepts"], ".0f"), _shown(everyone.get("cannot_tell_share"), ".0%")]
        relevance.append(["all" if subject == "concepts" else subject, *counted, *cells])
    terminal.tabulate(
        (
            "concepts",
            "rated",
            "cannot tell",
            "mean relevance, 1 to 4",
            "95 % interval",
            "attentive only",
            "95 % interval",
        ),
        relevance,
    )

    agreement: list[list[str]] = []
    everyone, attentive = (figures_of(metrics, raters, "concepts") for raters in ("all", "attentive"))
    for title, figure, form in (
        ("raters", "raters", ".0f"),
        ("between people: Krippendorff's alpha, ordinal", "krippendorff_alpha", ".2f"),
        ("judge and people: Spearman of confidence and mean rating", "spearman_confidence", ".2f"),
        ("judge and people: ROC-AUC of confidence, mean rating ≥ 3", "auc_confidence", ".2f"),
        ("judge and people: ROC-AUC of interpretable, mean rating ≥ 3", "auc_interpretable", ".2f"),
    ):
        agreement.append([title, _shown(everyone.get(figure), form), _shown(attentive.get(figure), form)])
    terminal.tabulate(("agreement", "all raters", "attentive raters only"), agreement)

    people: list[list[str]] = []
    for subject in sorted({metric.subject for metric in metrics if metric.subject.startswith("rater: ")}):
        figures = figures_of(metrics, "all", subject)
        people.append(
            [
                subject.removeprefix("rater: "),
                _shown(figures["ratings"], ".0f"),
                _shown(figures["mean"]),
                _shown(figures["bias"], "+.2f"),
                _shown(figures["wrong_labels_low"], ".0%"),
                _shown(figures["repeats_close"], ".0%"),
                _shown(figures["cannot_tell_share"], ".0%"),
                "yes" if figures["attentive"] else "NO",
            ]
        )
    terminal.tabulate(
        ("rater", "ratings", "mean", "bias", "wrong labels rated low", "repeats within 1", "cannot tell", "attentive"),
        people,
    )
    terminal.line(
        "Means weigh each stratum by its published concepts; intervals resample concepts within strata (bootstrap). "
        "Bias: own rating minus the others' mean on the same concepts. Attentive: 70 % of the checks of each sort. "
        "Who cannot tell is counted and left out of all else."
    )


def _interval(figures: Mapping[str, float | None]) -> str:
    low, high = figures.get("mean_relevance_low"), figures.get("mean_relevance_high")
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _shown(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
