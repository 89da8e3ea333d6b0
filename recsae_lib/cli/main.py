"""The command `recsae`: run the audit or one job, look at what was published."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from recsae_lib import __version__
from recsae_lib.cli import commands, concepts, explore, forget, queries, ratings, status, tuning, versions
from recsae_lib.platform.job.failures import guarded


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    arguments = build_parser().parse_args(argv)
    sys.exit(guarded(lambda: arguments.action(arguments), arguments.traceback, arguments.log_format))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="recsae",
        description="What a recommender has learned, as tables: sparse autoencoders on user representations.",
    )
    parser.add_argument("--version", action="version", version=f"recsae {__version__}")
    known = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_to(known)
    queries.add_to(known)
    concepts.add_to(known)
    explore.add_to(known)
    ratings.add_to(known)
    tuning.add_to(known)
    forget.add_to(known)
    status.add_to(known)
    versions.add_to(known)
    commands.add_tools_to(known)
    return parser
