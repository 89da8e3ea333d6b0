from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recsae_lib.platform.job.jobs import JOBS

REPOSITORY = Path(__file__).resolve().parents[2]


def recsae(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recsae_lib.cli", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_help_names_every_command_and_every_job() -> None:
    assert recsae("--help").returncode == 0
    for command in ("audit", "run", "sql", "concepts", "ratings", "versions", "promote", "config"):
        assert command in recsae("--help").stdout
    jobs_help = recsae("run", "--help").stdout
    for job in JOBS:
        assert job.name in jobs_help.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "--set", "sae.kk=3"], "the nearest known one is sae.k"),
        (["config", "--set", "sae.k=many"], "should be a valid integer"),
        (["config", "--conf", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "encode_latents", "--dt", "yesterday"], "is not a date of the form YYYY-MM-DD"),
        (["run", "encode_latent", "--dt", "2026-11-20"], "invalid choice"),
        (["run", "encode_latents", "--dt", "2026-11-20", "--estimate"], "encode_latents asks no language model"),
        (["config", "--set", "verification.judges=[llm]"], "verification.judges is [terms] or [terms, llm]"),
        (["ratings"], "the following arguments are required: ACTION"),
        (["ratings", "import"], "the following arguments are required: FILE"),
        (["ratings", "export", "--concepts", "0"], "--concepts is 0"),
    ],
)
def test_bad_arguments_exit_with_2_and_one_clear_line(arguments: list[str], message: str) -> None:
    answer = recsae(*arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_config_prints_what_was_set(tmp_path: Path) -> None:
    answer = recsae("config", "--set", "sae.k=32", cwd=tmp_path)
    assert answer.returncode == 0
    assert "  k: 32\n" in answer.stdout
