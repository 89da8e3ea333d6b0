"""MovieLens-100K as the embedded data set: taken once out of a published wheel, of which nothing is imported or run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from recsae_lib.errors import InputError
from recsae_lib.platform.storage.files import sha256_of

REQUIREMENT = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
MEMBERS = "recbole/dataset_example/ml-100k"
NEEDED = ("ml-100k.inter", "ml-100k.item")
OTHERWISE = "or set dataset.format and dataset.path to data that you have"


def fetch_movielens_100k(cache: Path) -> Path:
    """Return the folder of MovieLens-100K in RecBole's atomic files; fetched where it is not complete in the cache.

    Several processes may do this at once, and any of them may be killed: a file appears whole or not at all.

    Raises
    ------
    InputError : the wheel cannot be downloaded, or is not the one that was published.
    """
    target = cache / f"ml-100k-{WHEEL_SHA256[:12]}"
    if not is_complete(target):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
            extract_dataset(_download(Path(folder)), WHEEL_SHA256, target)
    return target


def is_complete(folder: Path) -> bool:
    """Whether the files that are read are there."""
    return all((folder / name).is_file() for name in NEEDED)


def extract_dataset(wheel: Path, sha256: str, target: Path) -> None:
    """Take the files of MovieLens-100K out of a wheel and put them into the folder `target`, made where it is missing.

    Raises
    ------
    InputError : the checksum differs, or the files are not in the wheel.
    """
    found = sha256_of(wheel)
    if found != sha256:
        raise InputError(
            f"{wheel.name} has the SHA-256 {found}, expected {sha256}",
            f"Check where pip takes {REQUIREMENT} from, {OTHERWISE}",
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        staging = Path(folder)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                path = PurePosixPath(member.filename)
                if str(path.parent) == MEMBERS and not member.is_dir():
                    (staging / path.name).write_bytes(archive.read(member))
        if not is_complete(staging):
            raise InputError(f"{wheel.name} does not hold {' and '.join(NEEDED)}", f"Install pip anew, {OTHERWISE}")
        target.mkdir(exist_ok=True)
        # Each file at once, over what is there, and those that are asked for last: others may do the same meanwhile,
        # or read it already, so that nothing may be removed, not even for a moment.
        for file in sorted(staging.iterdir(), key=lambda file: file.name in NEEDED):
            file.replace(target / file.name)


def _download(folder: Path) -> Path:
    # Only a wheel: pip would run the setup script of a source distribution.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet", REQUIREMENT, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.strip().splitlines() if line] or ["pip said nothing"]
        raise InputError(
            f"MovieLens-100K could not be downloaded with pip ({REQUIREMENT}): {said[-1].strip()}",
            f"Check that pip is installed and reaches a package index, {OTHERWISE}",
        )
    return wheels[0]
