"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
from typing import Any

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.platform.job.arguments import add_common_arguments


def command(commands: Any, name: str, summary: str, action: Any, dt_required: bool = False) -> argparse.ArgumentParser:
    """Add a command with the arguments that all take; `action` gets what was parsed."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
    add_common_arguments(parser, dt_required)
    parser.set_defaults(action=action)
    return parser


def add_site(parser: argparse.ArgumentParser) -> None:
    """Add ``--site``, of commands that read tables."""
    parser.add_argument("--site", default=DEFAULT_SITE, help="probing site whose tables are read (default: last)")
