"""`recsae forget-user` on a folder with tables, representations and a night that another run holds."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recsae_lib.platform.storage.locks import Fence, hold_night
from recsae_lib.platform.warehouse.tables import LEFT_OUT, REJECTS
from recsae_lib.recommenders.vocabulary import write_vocabulary
from tests.explorer.toy_site import write_toy_site
from tests.publishing import publish
from tests.stored_models import write_stored
from tests.workspace import DT, open_workspace

USER = "ann-7@x"


def write_set(folder: Path, users: list[str]) -> Path:
    folder.mkdir(parents=True)
    rows = pa.table({"user_id": users, "representation": [[float(place)] for place in range(len(users))]})
    pq.write_table(rows, folder / "part-0.parquet", row_group_size=2)
    (folder / ".part-0.parquet.crc").write_bytes(b"of the file before")
    return folder / "part-0.parquet"


def test_the_command_proves_that_a_user_is_gone(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = open_workspace(spark, tmp_path / "work", "forgetful")
    warehouse = workspace.warehouse()
    refused = [("interactions", "f", 1, "no item", f"{USER},,5"), ("interactions", "f", 2, "no item", "bob,,5")]
    schema = "source string, file string, line bigint, reason string, record string"
    warehouse.replace(REJECTS, spark.createDataFrame(refused, schema))
    out = [(1, "user", USER, 2, "new"), (1, "item", USER, 2, "new")]
    schema = "model_version int, kind string, id string, interactions bigint, reason string"
    warehouse.replace(LEFT_OUT, spark.createDataFrame(out, schema))
    publish(warehouse)
    bulk = workspace.folder / "var" / "bulk" / "representations" / "model=recommender-planted" / "version=1"
    file = write_set(bulk / "site=last" / "rows=last" / "dt=2026-11-20", ["a", USER, "b", "c", USER])
    only = write_set(bulk / "rejected_representations" / "dt=2026-11-20", [USER])
    page = write_toy_site(workspace.folder / "var", namespace="planted")
    conf = ("--conf", str(workspace.folder / "conf" / "planted.yaml"), "--dt", DT.isoformat(), "--user", USER)

    assert workspace.recsae_here("forget-user", *conf, "--dry-run") == 0
    assert pq.read_table(file).num_rows == 5
    locks = f"{workspace.folder}/var/locks"
    with hold_night(locks, {"planted": "write"}, DT, "a night", Fence()):
        assert workspace.recsae_here("forget-user", *conf) == 1
    assert "is under way" in capsys.readouterr().err
    assert pq.read_table(file).num_rows == 5

    assert workspace.recsae_here("forget-user", *conf) == 0
    printed = capsys.readouterr()
    assert USER not in printed.out + printed.err
    kept = pq.ParquetFile(file)
    assert kept.read().to_pydict() == {"user_id": ["a", "b", "c"], "representation": [[0.0], [2.0], [3.0]]}
    assert not list(file.parent.glob(".part*"))
    assert not only.exists()
    assert not page.exists()
    assert [row["record"] for row in warehouse.read_published(REJECTS).collect()] == ["bob,,5"]
    assert [row["kind"] for row in warehouse.read_published(LEFT_OUT).collect()] == ["item"]
    (report,) = (workspace.folder / "var" / "reports" / "planted" / DT.isoformat()).glob("forgotten-*.json")
    said = json.loads(report.read_text("utf-8"))
    assert USER not in report.read_text("utf-8")
    removed = {place["place"].removeprefix("forgetful.planted."): place["removed"] for place in said["places"]}
    assert removed == {"rejects": 1, "left_out": 1, "representations of recommender-planted": 3, "pages of planted": 1}
    assert [place["found"] for place in said["places"]] == [0, 0, 0, 0]
    assert any("MLflow" in line for line in said["not_covered"])

    # A recommender that looks users up cannot be cleaned: it is named, until the version is deleted.
    registry, stored = workspace.context("tests").registry, tmp_path / "stored"
    digest = write_stored(stored, "weights")
    write_vocabulary(stored, "user", [pa.array([USER, "bob"])])
    with registry.training_run("planted", {"job": "train"}, {}) as run:
        version = registry.register_recommender(run, "recommender-planted", stored, digest, {})
    assert workspace.recsae_here("forget-user", *conf) == 2
    printed = capsys.readouterr()
    assert f"recommender-planted version {version} in MLflow" in printed.out
    assert "1 traces of the user are left" in printed.err
    assert not list(registry.cache.rglob("users.parquet"))
    registry.client.delete_model_version("recommender-planted", str(version))
    # What a killed run has left, which no snapshot knows.
    stray = workspace.folder / "var" / "warehouse" / "planted" / "left_out" / "data" / "stray.parquet"
    pq.write_table(pa.table({"kind": ["user"], "id": [USER]}), stray)
    assert workspace.recsae_here("forget-user", *conf) == 0
    assert not stray.exists()
