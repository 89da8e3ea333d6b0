"""What a person may ask for who may only start runs; free of Airflow so that it can be tested by itself.

Whoever may write the settings file may run any code on the workers. Whoever may start a run may not: of the parameters
only the settings in open_settings.txt are taken, which `recsae config --triggerable` prints, and of settings files only
those that the Variable ``recsae_conf`` lists. The suite checks the settings again (``--set-by-trigger``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

OPEN_SETTINGS = frozenset(Path(__file__).with_name("open_settings.txt").read_text(encoding="utf-8").split())
LONGEST_SETTING = 500  # characters


def allowed_settings(given: Sequence[str]) -> list[str]:
    """Return the parameter ``set``.

    Raises
    ------
    ValueError : names the settings that only the settings file may hold.
    """
    if long := [setting for setting in given if len(setting) > LONGEST_SETTING]:
        raise ValueError(f"A setting in the parameter set has more than {LONGEST_SETTING} characters: {long[0][:80]}…")
    keys = [setting.partition("=")[0] for setting in given]
    if refused := sorted({key for key in keys if key not in OPEN_SETTINGS}):
        raise ValueError(
            f"The parameter set may not set {', '.join(refused)}: of who starts a run only the settings in "
            "recsae_dags/open_settings.txt are taken, all others come from the settings file. Have it written there"
        )
    return list(given)


def allowed_file(asked: str | None, variable: str) -> str:
    """Return the settings file of a run.

    Parameters
    ----------
    asked : the parameter ``conf``.
    variable : the Variable ``recsae_conf``: one or several files, separated by commas; the first is for runs that name
        none.

    Raises
    ------
    ValueError : the file is not in the Variable.
    """
    files = [file.strip() for file in variable.split(",") if file.strip()]
    if not files:
        raise ValueError("The Variable recsae_conf names no settings file")
    if asked is not None and asked not in files:
        raise ValueError(
            f"The parameter conf is {asked!r}, which is none of the settings files in the Variable recsae_conf: "
            f"{', '.join(files)}. Add it there, if runs may use it"
        )
    return asked or files[0]
