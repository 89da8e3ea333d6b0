"""What the arguments of a job come to."""

from __future__ import annotations

import argparse

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import add_common_arguments, add_step_argument, context_of


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    add_step_argument(parser)
    return parser.parse_args(["--dt", "2026-11-20", *words])


def test_refused_answers_are_asked_again_where_that_is_said() -> None:
    assert context_of(parsed(), "interpret_concepts").ask_again is None
    context = context_of(parsed("--ask-again", "refused", "--step", "submit"), "interpret_concepts")
    assert (context.ask_again, context.step) == ("refused", "submit")
    assert context.for_job("verify_concepts").ask_again is None
    with pytest.raises(InputError, match="--step collect asks nothing"):
        context_of(parsed("--ask-again", "refused", "--step", "collect"), "interpret_concepts")
