"""`recsae forget-user`: one user out of everything."""

from __future__ import annotations

import argparse
from typing import Any

from recsae_lib.cli.parsing import command
from recsae_lib.cli.terminal import print_table
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import context_of
from recsae_lib.printable import say


def add_to(commands: Any) -> None:
    """Add the command."""
    forget = command(commands, "forget-user", "take one user out of all tables and representations", _forget)
    forget.add_argument("--user", required=True, metavar="ID", help="as it stands in the table interactions")
    forget.add_argument("--dry-run", action="store_true", help="only say where the user is found")
    forget.epilog = (
        "Of the data of the settings, all models on them and all their sites: from every branch, tag and publication, "
        "from the history of the tables at once, and from paths.bulk. Then it looks into every file, prints what was "
        "removed and what is left, and keeps that as a report that has the SHA-256 of the id in place of the id. Exit "
        "code 0 only where nothing is left. The report names the places that it does not look into (raw data, "
        "ledgers of language models, backups), with what to do. Published figures stay as they were. "
        "Refused while a run holds a night; killed, it goes on where it stopped when it is run again."
    )


def _forget(arguments: argparse.Namespace) -> None:
    from recsae_lib.flow.forget_user import forget_user

    forgotten, report = forget_user(context_of(arguments, "forget-user"), arguments.user, arguments.dry_run)
    removed, found = ("would go", "") if arguments.dry_run else ("removed", "left")
    rows = ([p.place, p.removed, "" if arguments.dry_run else p.found] for p in forgotten.places)
    print_table(["place", removed, found], rows)
    for column in forgotten.unclassified:
        say(f"Not searched, since it is no column of recsae: {column}")
    for place in forgotten.not_covered:
        say(f"Not covered: {place}")
    if report is not None:
        say(str(report))
    if forgotten.found:
        raise InputError(
            f"{forgotten.found:,} traces of the user are left",
            "Let runs that are under way end, then run this again; where recommenders in MLflow know the user, train "
            "again and delete these versions first",
        )
