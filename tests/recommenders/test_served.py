"""A registered recommender as MLflow serves it, beside what the library recommends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from mlflow.exceptions import MlflowException

from recsae_lib.config import SasrecSettings, TimirecSettings
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.lightgcn import LightGcn
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.families.timirec import Timirec
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.recommend import best_unseen
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import FAMILIES, load_recommender, save_recommender, weights_digest
from recsae_lib.recommenders.vocabulary import write_vocabulary
from tests.workspace import write_mlflow_database

ITEMS, USERS, DIMENSION = 30, 5, 8
ITEM_IDS = sorted((f"item {number} é{chr(0x1F600 + number)}" for number in range(ITEMS)), key=str.encode)
USER_IDS = [f"u{number}" for number in range(USERS)]
HISTORIES = [[3], [1, 2, 3, 4, 5, 6, 7], [29, 0, 29], [8, 9], [15, 14, 13, 12]]  # L is 4
BUILD = {
    "bpr_mf": lambda: BprMf(USERS, ITEMS, DIMENSION),
    "lightgcn": lambda: LightGcn(USERS, ITEMS, DIMENSION),
    "sasrec": lambda: Sasrec(ITEMS, DIMENSION, SasrecSettings(history_length=4, layers=2, heads=2, inner_dimension=16)),
    "timirec": lambda: Timirec(ITEMS, DIMENSION, TimirecSettings(history_length=4, interests=3, attention_size=8)),
}


def name_of(kind: str) -> str:
    return f"recommender-{kind}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registered champion of each family, with random weights."""
    folder = tmp_path_factory.mktemp("served")
    write_mlflow_database(folder / "mlflow.db")
    registry = Registry(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "models")
    for kind, build in BUILD.items():
        torch.manual_seed(7)
        model, stored = build(), folder / kind
        for weight in model.parameters():  # far from the small initial ones, so that every part of a model matters
            torch.nn.init.normal_(weight)
        stored.mkdir()
        write_vocabulary(stored, "item", [pa.array(ITEM_IDS)])
        if model.reads_user_index:
            write_vocabulary(stored, "user", [pa.array(USER_IDS)])
        save_recommender(model, Split(), stored)
        with registry.training_run("served", {"job": "train_recommender"}, {}) as run:
            registry.register_recommender(run, name_of(kind), stored, weights_digest(stored), {}, served=True)
        registry.promote(name_of(kind), 1)
    return registry


def frame(histories: list[list[int]], user_ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": user_ids, "history": [[ITEM_IDS[item] for item in one] for one in histories]})


def champion(registry: Registry, kind: str) -> Any:
    mlflow.set_tracking_uri(registry.client.tracking_uri)
    return mlflow.pyfunc.load_model(f"models:/{name_of(kind)}@champion")


def test_every_family_is_served(registry: Registry) -> None:
    assert BUILD.keys() == FAMILIES.keys()


@pytest.mark.parametrize("kind", BUILD)
def test_it_recommends_what_the_library_does(registry: Registry, kind: str) -> None:
    model = load_recommender(registry.fetch(name_of(kind), 1))
    flat = np.array([item for one in HISTORIES for item in one])
    offsets = np.cumsum([0, *(len(one) for one in HISTORIES)])
    histories = Histories(np.arange(USERS), offsets, flat)
    items, scores = best_unseen(model, model.represent(model.build_inputs(histories)), histories, 6)
    served = champion(registry, kind).predict(frame(HISTORIES, USER_IDS), params={"top_n": 6})
    assert served["item_ids"].tolist() == [[ITEM_IDS[item] for item in row] for row in items]
    np.testing.assert_allclose(np.array(served["scores"].tolist()), scores, rtol=1e-4)


@pytest.mark.parametrize("kind", BUILD)
def test_who_is_not_known_gets_nothing_and_others_do(registry: Registry, kind: str) -> None:
    given = frame([[], [4, 5]], ["nobody", "u1"])
    given.at[1, "history"] = [*given.at[1, "history"], "an item of tomorrow"]
    served = champion(registry, kind).predict(given)
    assert [len(ids) for ids in served["item_ids"]] == [0, 10]
    without = champion(registry, kind).predict(frame([[4, 5]], ["u1"]))
    assert served["item_ids"][1] == without["item_ids"][0]
    assert not {ITEM_IDS[4], ITEM_IDS[5]} & set(served["item_ids"][1])


def test_a_history_shorter_than_the_catalogue_leaves_the_rest(registry: Registry) -> None:
    served = champion(registry, "sasrec").predict(frame([list(range(28))], ["u1"]), params={"top_n": 1000})
    assert sorted(served["item_ids"][0]) == sorted(ITEM_IDS[28:])


def test_a_family_that_looks_users_up_needs_no_history(registry: Registry) -> None:
    served = champion(registry, "bpr_mf").predict(pd.DataFrame({"user_id": ["u3", "u9"]}))
    assert [len(ids) for ids in served["item_ids"]] == [10, 0]


@pytest.mark.parametrize(
    ("kind", "given", "params", "message"),
    [
        ("sasrec", pd.DataFrame({"user_id": ["u1"]}), {}, "history"),
        ("bpr_mf", pd.DataFrame({"history": [["a"]]}), {}, "user_id"),
        ("sasrec", pd.DataFrame({"history": ["item 1"]}), {}, "history"),
        ("sasrec", frame([[1]], ["u1"]), {"top_n": 0}, "top_n is below 1"),
    ],
)
def test_what_are_no_users_is_refused(
    registry: Registry, kind: str, given: pd.DataFrame, params: dict[str, int], message: str
) -> None:
    with pytest.raises(MlflowException, match=message):
        champion(registry, kind).predict(given, params=params)


@pytest.mark.parametrize("kind", BUILD)
def test_the_example_is_one_and_names_nobody(registry: Registry, kind: str) -> None:
    model = champion(registry, kind)
    assert model.metadata.signature.outputs.input_names() == ["item_ids", "scores"]
    source = registry.client.get_model_version(name_of(kind), "1").source
    folder = mlflow.artifacts.download_artifacts(artifact_uri=source)
    example = model.metadata.load_input_example(folder)
    assert len(model.predict(example)) == 1
    assert "u0" not in str(example)
    assert list(Path(folder).rglob("*.pkl")) == []


def test_no_package_recsae_is_asked_for(registry: Registry) -> None:
    source = registry.client.get_model_version(name_of("sasrec"), "1").source
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=source))
    lines = (folder / "requirements.txt").read_text("utf-8").split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "pandas", "pyarrow", "safetensors", "torch"]


WITHOUT_RECSAE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("recsae_lib", "recsae_jobs", "pyspark", "numba", "pydantic_settings"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import mlflow, pandas as pd
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame({"history": [[sys.argv[2]]]})).to_json())
"""


@pytest.mark.integration
def test_it_is_served_where_recsae_is_not_installed(registry: Registry, tmp_path: Path) -> None:
    source = registry.client.get_model_version(name_of("timirec"), "1").source
    folder = mlflow.artifacts.download_artifacts(artifact_uri=source)
    command = [sys.executable, "-c", WITHOUT_RECSAE, str(folder), ITEM_IDS[3]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["item_ids"]["0"]) == 10
