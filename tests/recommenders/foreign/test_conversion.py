"""How conf/README.md has a state_dict converted, done as it says."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.workspace import REPOSITORY

(CONVERSION,) = re.findall(
    r"```python\n(\s+import safetensors\.torch.*?)```", (REPOSITORY / "conf" / "README.md").read_text("utf-8"), re.S
)


class RunsCode:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("broken in",)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def convert() -> None:
    exec("\n".join(line.strip() for line in CONVERSION.splitlines()), {})


def test_a_state_dict_becomes_safetensors() -> None:
    shared = torch.arange(6.0).reshape(3, 2)
    torch.save({"items.weight": shared, "output.weight": shared, "bias": torch.tensor([0.5])}, "model.pt")
    convert()
    converted = safetensors.torch.load_file("ranker.safetensors")
    assert {name: tensor.tolist() for name, tensor in converted.items()} == {
        "items.weight": [[0, 1], [2, 3], [4, 5]],
        "output.weight": [[0, 1], [2, 3], [4, 5]],
        "bias": [0.5],
    }


@pytest.mark.parametrize("kind", ["zip", "pickle", "tar"])
def test_a_file_that_runs_code_is_refused(kind: str) -> None:
    if kind == "tar":  # the oldest format, by which CVE-2025-32434 went
        with tarfile.open("model.pt", "w") as archive:
            for name in ("storages", "tensors", "pickle"):
                content = pickle.dumps(RunsCode())
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        torch.save({"items.weight": RunsCode()}, "model.pt", _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        convert()
    assert [path.name for path in Path().iterdir()] == ["model.pt"]
