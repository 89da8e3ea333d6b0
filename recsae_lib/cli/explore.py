"""`recsae explore`: the page of a published audit."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from recsae_lib.cli.parsing import command
from recsae_lib.explorer.site import page_of
from recsae_lib.platform.job.arguments import context_of
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.run import execute
from recsae_lib.printable import say


def add_to(commands: Any) -> None:
    """Add the command."""
    explore = command(commands, "explore", "write the page of a published audit, to be opened in a browser", _explore)
    explore.epilog = (
        "Of --dt, or of the newest published audit. The page opens by a double click, from a bucket or from any web "
        "server, and asks nothing of any other place. Every audit writes it too, as its last job."
    )


def _explore(arguments: argparse.Namespace) -> None:
    from recsae_lib.platform.warehouse.publications import newest_publication, publications

    context = context_of(arguments, "build_explorer")
    if arguments.dt is None:
        newest = newest_publication(context.warehouse, publications(context.warehouse))
        context = replace(context, dt=newest.dt)
    execute(context, job_named("build_explorer").load().run)
    print_pages(context)


def print_pages(context: JobContext) -> None:
    """Print where the pages of a date are, one line a probing site."""
    for site in context.settings.representations.sites:
        say(f"Open {page_of(context.settings.paths, context.at_site(site).namespaces['audit'], context.dt).as_uri()}")
