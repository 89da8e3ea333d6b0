"""Which code runs: what MLflow, the tables and the job log keep beside results."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from recsae_lib import __version__


@cache
def code_version() -> str:
    """Version of the package, with the commit where it runs from a checkout."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    # An installed package may lie in an environment inside somebody else's repository.
    if shutil.which("git") is None or git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
        return __version__
    return f"{__version__}+{git('describe', '--always', '--dirty', '--abbrev=12').stdout.strip()}"
