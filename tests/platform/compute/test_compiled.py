from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = """
from recsae_lib.platform.compute.compiled import compiled

@compiled
def twice(value):
    return 2 * value

print(twice(21))
"""


def test_a_function_compiles_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """Neither the folder of the source nor the cache of the user can be written: both would lie under a file."""
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "folder")
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", SOURCE]  # source that is no file has no folder
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("42\n", 0), result.stderr
