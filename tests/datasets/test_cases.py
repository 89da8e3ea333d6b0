"""Sample inputs of the kinds that people bring, ingested by the command line."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse
from tests.datasets.cases.expected import EXPECTED, READING
from tests.datasets.cases.running import Case, cases_in, run_case
from tests.workspace import DT, Workspace, open_workspace

SAMPLES = Path(__file__).parent / "cases" / "samples.tar.xz"


@pytest.fixture
def cases(tmp_path: Path) -> dict[str, Case]:
    with tarfile.open(SAMPLES) as archive:
        archive.extractall(tmp_path / "samples", filter="data")
    return {case.name: case for case in cases_in(tmp_path / "samples")}


@pytest.fixture
def workspace(spark: SparkSession, tmp_path: Path) -> Workspace:
    return open_workspace(spark, tmp_path / "work", f"cases_{tmp_path.name}".replace("-", "_"))


def test_every_sample_has_an_expected_outcome(cases: dict[str, Case]) -> None:
    assert set(cases) == set(EXPECTED)


@pytest.mark.integration
def test_samples_of_types_and_formats_end_as_expected(cases: dict[str, Case], workspace: Workspace) -> None:
    got = {name: run_case(cases[name], workspace) for name in READING}
    assert {name: str(outcome) for name, outcome in got.items() if not outcome.is_as(READING[name])} == {}


@pytest.mark.integration
def test_where_all_rows_are_refused_they_are_in_rejects(cases: dict[str, Case], workspace: Workspace) -> None:
    assert run_case(cases["csv_12h"], workspace).code == 2
    settings = load_settings(None, workspace.folder / "conf" / "case.yaml", workspace.places)
    namespaces = JobContext("cases", settings, DT).namespaces
    rejects = Warehouse(workspace.spark, workspace.catalog, namespaces, DT).read(tables.REJECTS).collect()
    assert {(row["line"], row["reason"]) for row in rejects} == {
        (line, "the time is missing or not a time") for line in range(2, 8)
    }
