"""Units of one recommender found in another one: planted ones are, drawn ones are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.config import Settings
from recsae_lib.flow.found_across import FoundAcross, Source, find_across
from recsae_lib.flow.study_results import as_markdown
from recsae_lib.platform.job.context import JobContext, Shared
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.representations.layout import COMPLETE_MARKER, RepresentationSet
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae

DT = date(2026, 11, 20)
USERS, UNITS, KNOWN = 900, 20, 15  # of the units both models know so many


def save(folder: Path, directions: np.ndarray) -> Path:
    rows = torch.nn.functional.normalize(torch.from_numpy(directions.astype(np.float32)))
    save_sae(
        SparseAutoencoder(rows.clone(), torch.full((len(rows),), -0.5), rows, torch.zeros(rows.shape[1]), 4), folder, {}
    )
    return folder


def source(spark: SparkSession, folder: Path, model: str, x: np.ndarray, users: list[str], axes: np.ndarray) -> Source:
    representations = RepresentationSet(str(folder), model, 1, "last", "last", DT)
    path = Path(representations.path)
    path.mkdir(parents=True)
    rows = {"user_id": users, "representation": pa.array((x @ axes).tolist(), pa.list_(pa.float32()))}
    pq.write_table(pa.table(rows), path / "part-0.parquet")
    (path / COMPLETE_MARKER).touch()
    drawn = np.random.default_rng(len(model)).normal(size=(UNITS, axes.shape[1]))
    folders = {
        UnitKind.SAE: save(folder / f"{model}-sae", axes),
        UnitKind.UNTRAINED: save(folder / f"{model}-drawn", drawn),
    }
    context = JobContext("compare", Settings(), DT, shared=Shared(spark=spark))
    return Source(model, context, representations, folders)


@pytest.mark.integration
def test_what_both_models_know_is_found(spark: SparkSession, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    tastes = (random.random((USERS, UNITS)) < 0.1) * random.uniform(2, 4, (USERS, UNITS))
    others = tastes.copy()
    others[:, KNOWN:] = random.permutation(tastes[:, KNOWN:])  # what the other model says of these is about nobody
    ids = [f"u{n}" for n in range(USERS)]
    order = random.permutation(USERS)[: USERS - 50]  # it does not know all, and has them in another order
    axes = np.linalg.qr(random.normal(size=(UNITS, UNITS)))[0]
    one = source(spark, tmp_path, "one", tastes, ids, np.eye(UNITS))
    two = source(spark, tmp_path, "other", others[order], [ids[n] for n in order], axes)
    found = {(pair.model, pair.other, pair.kind): pair for pair in find_across([one, two], Settings())}
    assert set(found) == {
        (*models, kind)
        for models in (("one", "other"), ("other", "one"))
        for kind in (UnitKind.SAE, UnitKind.UNTRAINED)
    }
    strangers = source(spark, tmp_path, "strangers", tastes, [f"v{n}" for n in range(USERS)], np.eye(UNITS))
    gone = replace(one, model="gone", representations=replace(one.representations, model="gone"))
    assert find_across([one, strangers, gone], Settings()) == []
    for models in (("one", "other"), ("other", "one")):
        sae, untrained = (found[(*models, kind)] for kind in (UnitKind.SAE, UnitKind.UNTRAINED))
        assert (sae.units, sae.share) == (UNITS, KNOWN / UNITS)
        # Wilson's interval of 15 in 20, by hand: (17.92 ± 1.96 √(3.75 + .9604)) / 23.84.
        assert (sae.low, sae.high) == (pytest.approx(0.531, abs=0.002), pytest.approx(0.888, abs=0.002))
        assert untrained.share <= 0.1


def test_what_models_share_has_a_table() -> None:
    found = [FoundAcross("a", "b", UnitKind.SAE, 0.75, 0.531, 0.888, 20)]
    lines = as_markdown([], {"films": found, "books": []}).splitlines()
    assert lines[-1] == "| films | a | b | .75 (.53–.89) | – | – |"
    assert not any("another recommender" in line for line in as_markdown([], {"films": []}).splitlines())
