"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
import shlex
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


def options_in_use(arguments: argparse.Namespace) -> str:
    """The options that another command needs to see what this one works on, for a shell; empty where none was given."""
    options = [] if arguments.conf is None else ["--conf", str(arguments.conf)]
    for override in arguments.overrides:
        options += ["--set", override]
    return f" {shlex.join(options)}" if options else ""
