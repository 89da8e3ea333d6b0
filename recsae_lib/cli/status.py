"""`recsae status`: the last nights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recsae_lib.cli.parsing import command
from recsae_lib.cli.terminal import print_json, print_table
from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import settings_of
from recsae_lib.platform.job.record import book_path, latest_nights, read_book
from recsae_lib.printable import on_one_line, say


def add_to(commands: Any) -> None:
    """Add the command."""
    status = command(commands, "status", "show the last nights: what was published, what failed and why", _status)
    status.add_argument("--nights", type=int, default=7, metavar="N", help="the latest N dates (default 7)")
    status.add_argument("--format", choices=("table", "json"), default="table", help="json is one job a line")


def _status(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    path = book_path(Path(settings.paths.var), settings.namespaces(DEFAULT_SITE)["model"])
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
        sae = [record.sae_version for record in night.jobs.values() if record.sae_version is not None]
        slow = f"{slowest.job} {slowest.seconds:,.0f} s"
        rows.append([night.dt, night.state(), max(sae, default=None), f"{night.seconds:,.0f} s", slow])
    print_table(["night", "state", "SAE", "work", "longest"], iter(rows))
    for night in nights:
        if cause := night.cause():
            say(f"{night.dt}: {on_one_line(cause)}")
