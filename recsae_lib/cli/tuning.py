"""`recsae tune`: what turning a concept would do, before anything is published."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recsae_lib.cli.parsing import command
from recsae_lib.cli.terminal import Terminal
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of

if TYPE_CHECKING:  # torch takes a second, which other commands do without
    from recsae_lib.config import TuningSettings
    from recsae_lib.platform.job.context import JobContext
    from recsae_lib.tuning.effects import MeasuredTuning
    from recsae_lib.tuning.places import Places
    from recsae_lib.tuning.world import World

SAMPLE_USERS = 5
TRIAL = "trial"  # name of the tuning
TITLE_WIDTH = 40
COLUMNS = {  # of the table: a metric and its form
    "feature_share_change": ("feature\nshare", "+.3f"),
    "exposure_error": ("exposure\nerror", ".3f"),
    "ndcg@10_kept": ("NDCG@10\nkept", ".3f"),
    "overlap@10": ("overlap", ".2f"),
    "other_features_moved": ("others\nmoved", ".2f"),
    "average_popularity": ("popu-\nlarity", ".0f"),
    "long_tail_share": ("long\ntail", ".2f"),
    "catalogue_coverage": ("coverage", ".3f"),
    "gini": ("Gini", ".3f"),
}


def add_to(commands: Any) -> None:
    """Add the command."""
    tune = command(commands, "tune", "try what turning a concept does to the recommendations", _tune)
    what = tune.add_mutually_exclusive_group(required=True)
    what.add_argument("--latent", type=int, nargs="+", metavar="ID", help="turn these latents")
    what.add_argument("--feature", metavar="NAME", help="turn the latent that lifts items with this feature most")
    what.add_argument("--like", nargs="+", metavar="TITLE", help="turn latents that together point at these items")
    what.add_argument("--debias", choices=["popularity"], help="turn latents that lift popular items")
    what.add_argument(
        "--mix",
        nargs="+",
        metavar="FEATURE=SHARE",
        help="make lists of these features in these shares, e.g. Drama=0.6 Comedy=0.3; or of each user's own: history",
    )
    far = tune.add_mutually_exclusive_group()
    far.add_argument("--multiply", type=float, metavar="M", help="multiply activations: 0 removes, 1 changes nothing")
    far.add_argument("--add", type=float, metavar="A", help="add to the activations of everybody")
    far.add_argument("--overlap", type=float, metavar="SHARE", help="go so far that this share of lists stays (0.7)")
    tune.add_argument("--less", action="store_true", help="less of it, where no --multiply or --add says so")
    tune.add_argument("--user", metavar="ID", help="show the lists of this held-out user")
    tune.epilog = (
        "Needs an audit of --dt (the newest that is there unless given): its SAE, recommender and held-out users. "
        "Strengths are chosen on dev users, the table is of test users, beside what else could be done: other "
        "dictionaries, directions without any, re-ranking. Nothing is written. The setting tunings does the same for "
        "all users every night."
    )


def _tune(arguments: argparse.Namespace) -> None:
    from recsae_lib.recommenders.store import load_recommender
    from recsae_lib.tuning.effects import measure_tuning
    from recsae_lib.tuning.places import Places, audited_context, read_world

    context = audited_context(context_of(arguments, "tune"), arguments.dt)
    places = Places.of_context(context)
    tuning = _settings_of(arguments, places)
    recommender = load_recommender(places.recommender, places.factory)
    world = read_world(places, places.compared(), recommender, context.settings)
    measured = measure_tuning(tuning, world)
    terminal = Terminal(width=150)
    _print_heading(terminal, context, measured)
    _print_effects(terminal, measured)
    _print_lists(terminal, world, places, measured, arguments.user)


def _settings_of(arguments: argparse.Namespace, places: Places) -> TuningSettings:
    from pydantic import ValidationError

    from recsae_lib.config import TuningSettings, explain_faults
    from recsae_lib.recommenders.vocabulary import item_ids_of
    from recsae_lib.tuning.catalogue import find_titled

    given: dict[str, Any] = {"name": TRIAL}
    if arguments.latent is not None:
        given["latents"] = arguments.latent
    elif arguments.feature is not None:
        given["feature"] = arguments.feature
    elif arguments.debias is not None:
        given["debias"] = arguments.debias
    elif arguments.mix is not None:
        given["mix"] = "history" if arguments.mix == ["history"] else _shares(arguments.mix)
    else:
        ids = item_ids_of(places.recommender)
        given["like"] = [ids[find_titled(places.catalogue.folder, title)].as_py() for title in arguments.like]
    strengths = {"multiply": arguments.multiply, "add": arguments.add}
    for mode, strength in strengths.items():
        if strength is not None:
            given |= {"mode": mode, "strength": strength}
    if arguments.overlap is not None:
        given["overlap"] = arguments.overlap
    if arguments.less:
        given["direction"] = "less"
    try:
        return TuningSettings.model_validate(given)
    except ValidationError as error:
        raise InputError(f"That cannot be tried: {explain_faults(error)}", "See `recsae tune --help`") from None


def _shares(pairs: Sequence[str]) -> dict[str, str]:
    shares = {}
    for pair in pairs:
        feature, separator, share = pair.rpartition("=")
        if not separator:
            raise InputError(f"{pair!r} is no FEATURE=SHARE", "E.g. --mix Drama=0.6 Comedy=0.3, or --mix history")
        shares[feature] = share
    return shares


def _print_heading(terminal: Terminal, context: JobContext, measured: MeasuredTuning) -> None:
    terminal.rule(f"Tuning {context.namespaces['audit']}, dt={context.dt}, SAE version {context.sae_version}")
    terminal.line(measured.line().removeprefix(f"{TRIAL}: "))


def _print_effects(terminal: Terminal, measured: MeasuredTuning) -> None:
    from recsae_lib.tuning.effects import COMPARISONS, UNTUNED
    from recsae_lib.tuning.findings import TITLES, winner

    for comparison in COMPARISONS:
        sentence = winner(measured.effects, comparison)
        if sentence is not None:
            terminal.line(sentence)
        figures = {(e.method, e.metric): e for e in measured.effects if e.comparison == comparison}
        methods = list(dict.fromkeys(method for method, _ in figures))
        shown = [metric for metric in COLUMNS if any((method, metric) in figures for method in methods)]
        rows = []
        for method in methods:
            cells = [figures.get((method, metric)) for metric in shown]
            first = next((cell.strength for cell in cells if cell is not None), None)
            texts = [
                "–"
                if cell is None or cell.value is None
                else f"{cell.value:{COLUMNS[metric][1]}}"
                + ("" if method == UNTUNED or cell.high is None else f" ±{cell.high - cell.value:{_plain(metric)}}")
                for metric, cell in zip(shown, cells, strict=True)
            ]
            rows.append([TITLES.get(method, method), "" if first is None else f"{first:.3g}", *texts])
        terminal.tabulate([f"at equal {comparison}", "strength", *(COLUMNS[metric][0] for metric in shown)], rows)


def _plain(metric: str) -> str:
    return COLUMNS[metric][1].removeprefix("+")


def _print_lists(
    terminal: Terminal, world: World, places: Places, measured: MeasuredTuning, wanted: str | None
) -> None:
    import numpy as np

    from recsae_lib.tuning.catalogue import read_titles
    from recsae_lib.tuning.effects import tuned_lists
    from recsae_lib.tuning.held_out import find_users
    from recsae_lib.tuning.lists import best_lists

    ids, users = find_users(places.test, wanted, SAMPLE_USERS)
    before, after = best_lists(world.recommender, users, users.x), tuned_lists(measured.resolved, users, world)
    titles = read_titles(places.catalogue.folder, np.concatenate([before.ravel(), after.ravel()]))
    for row, user in enumerate(ids):
        names = [[_short(titles.get(int(item), "")) for item in lists[row]] for lists in (before, after)]
        marks = ["" if item in before[row] else "new" for item in after[row]]
        pairs: Sequence[Sequence[str]] = list(zip(*names, marks, strict=True))
        terminal.tabulate([f"user {user}: before", "after", ""], pairs)


def _short(title: str) -> str:
    return title if len(title) <= TITLE_WIDTH else f"{title[: TITLE_WIDTH - 1]}…"
