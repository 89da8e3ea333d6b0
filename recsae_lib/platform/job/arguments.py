"""The arguments that jobs and commands take, and what they come to."""

from __future__ import annotations

import argparse
from datetime import date, datetime, timezone
from pathlib import Path

from recsae_lib.config import Settings, load_settings
from recsae_lib.config.shipped import shipped
from recsae_lib.config.triggers import open_setting
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import ASK_AGAIN, STEPS, JobContext


def add_common_arguments(parser: argparse.ArgumentParser, dt_required: bool = True) -> None:
    """Add ``--conf``, ``--set`` and ``--dt``, which every job and command takes."""
    parser.add_argument(
        "--conf", type=Path, metavar="FILE", help="settings file; without it the example on MovieLens-100K is meant"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides", help="one setting; may be repeated"
    )
    parser.add_argument(
        "--set-by-trigger",
        action="append",
        type=open_setting,
        metavar="A.B=VALUE",
        dest="overrides",
        help="one setting, of a person who may only start runs of a scheduler: numbers and choices of the method",
    )
    parser.add_argument(
        "--dt",
        type=parse_date,
        required=dt_required,
        metavar="YYYY-MM-DD",
        help="date of the audit: the partition to write",
    )
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of a failure")
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="of the log on standard error; json is one object a line, with all that is known of a job when it ends",
    )


def add_estimate_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--estimate``, of jobs that ask a language model."""
    parser.add_argument(
        "--estimate", action="store_true", help="only print what would be asked of a language model, and its cost"
    )


def add_step_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--step`` and ``--ask-again``, of jobs that hand work to a server and fetch it later."""
    parser.add_argument(
        "--step",
        choices=STEPS,
        help="submit: send the requests and end; collect: fetch what is answered, exit code 5 while some is not; "
        "without it: both, waiting in between",
    )
    parser.add_argument(
        "--ask-again",
        choices=ASK_AGAIN,
        help="refused: also ask a language model again, and pay again, where its answer could not be used",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Resolve the settings that the common arguments name."""
    return load_settings(shipped("base.yaml"), arguments.conf or shipped("local.yaml"), arguments.overrides)


def context_of(arguments: argparse.Namespace, job: str) -> JobContext:
    """Return the context of a job under its arguments; its date is today (UTC) where none is given.

    Raises
    ------
    InputError : see `load_settings`; or collecting is to ask again.
    """
    step, ask_again = getattr(arguments, "step", None), getattr(arguments, "ask_again", None)
    if step == "collect" and ask_again is not None:
        raise InputError("--step collect asks nothing", "Give --ask-again to --step submit, or leave --step out")
    dt = arguments.dt or datetime.now(timezone.utc).date()
    return JobContext(job, settings_of(arguments), dt, step=step, ask_again=ask_again)


def parse_as_of(text: str) -> date | datetime:
    """Type of arguments that are dates, or moments in UTC."""
    try:
        if len(text) == len("YYYY-MM-DD"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a date, YYYY-MM-DD, nor a moment, YYYY-MM-DDTHH:MM (UTC)"
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc)


def parse_date(text: str) -> date:
    """Type of arguments that are dates."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date of the form YYYY-MM-DD") from None
