"""`recsae status`: the last nights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recsae_lib.cli.parsing import command
from recsae_lib.cli.terminal import of_audit, print_json, print_table
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import settings_of
from recsae_lib.platform.job.record import Night, book_path, latest_nights, read_book
from recsae_lib.printable import on_one_line, say


def add_to(commands: Any) -> None:
    """Add the command."""
    status = command(commands, "status", "show the last nights: what was published, what failed and why", _status)
    status.add_argument("--nights", type=int, default=7, metavar="N", help="the latest N dates (default 7)")
    status.add_argument("--format", choices=("table", "json"), default="table", help="json is one job a line")


def _status(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    namespace = settings.namespaces(DEFAULT_SITE)["model"]
    path = book_path(Path(settings.paths.var), namespace)
    if not path.is_file():
        raise InputError(f"No job has run here yet: there is no {path}", "Start one, or see --conf and paths.var")
    nights = latest_nights(read_book(path), arguments.nights)
    if arguments.format == "json":
        for night in nights:
            for record in night.jobs.values():
                print_json(vars(record))
        return
    rows = []
    for night in nights:
        slowest = max(night.jobs.values(), key=lambda record: record.seconds)
        slow = f"{slowest.job} {slowest.seconds:,.0f} s"
        rows.append([night.dt, night.state(), _sae_version(night), f"{night.seconds:,.0f} s", slow])
    newest = "" if not nights else f"Nights of {of_audit(namespace, nights[0].dt, _sae_version(nights[0]))}"
    print_table(["night", "state", "SAE", "work", "longest"], iter(rows), newest)
    for night in nights:
        if cause := night.cause():
            say(f"{night.dt}: {on_one_line(cause)}")


def _sae_version(night: Night) -> int | None:
    """The newest version of the SAE that a job of a night worked with."""
    known = (record.sae_version for record in night.jobs.values())
    return max((version for version in known if version is not None), default=None)
