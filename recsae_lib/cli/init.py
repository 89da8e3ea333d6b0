"""`recsae init`: a commented settings file to start from."""

from __future__ import annotations

from pathlib import Path

from recsae_lib.config import as_commented_yaml, load_settings
from recsae_lib.config.shipped import shipped
from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import write_whole

SETTINGS_FILE = "recsae.yaml"
HEAD = f"""\
# Settings of an audit, at first of SASRec on MovieLens-100K: recsae audit --conf {SETTINGS_FILE}
# A setting behind a # right before its name has its default, which stands there; take the # away to change it.
# `recsae config --conf {SETTINGS_FILE}` prints what applies. `recsae datasets` lists the formats of data that are read.

"""


def write_start(folder: Path) -> Path:
    """Write ``recsae.yaml`` into a folder, which is made where it is missing: the settings of the example.

    Raises
    ------
    InputError : the folder has such a file already.
    """
    target = folder / SETTINGS_FILE
    if target.exists():
        raise InputError(f"{target} is there already", "Name another folder, or move the file away")
    example = load_settings(shipped("base.yaml"), shipped("local.yaml"))
    write_whole(target, (HEAD + as_commented_yaml(example, only_changed=True)).encode())
    return target
