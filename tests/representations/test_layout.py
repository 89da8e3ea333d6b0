from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recsae_lib.config import Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.representations.layout import RepresentationSet

FRIDAY = date(2026, 11, 20)


def in_bulk(bulk: Path | str) -> RepresentationSet:
    return RepresentationSet(str(bulk), "recommender-shop", 3, "last", "training", FRIDAY)


def test_the_path_names_model_version_site_rows_and_date() -> None:
    assert (
        in_bulk("s3a://recsae/bulk/").path
        == "s3a://recsae/bulk/representations/model=recommender-shop/version=3/site=last/rows=training/dt=2026-11-20"
    )


def test_item_embeddings_belong_to_a_model_version_for_any_rows() -> None:
    expected = "var/bulk/representations/model=recommender-shop/version=3/item_embeddings/dt=2026-11-20"
    assert in_bulk("var/bulk").item_embeddings() == expected


def test_a_job_names_the_set_of_its_site_or_another() -> None:
    settings = Settings.model_validate({"namespace": "shop", "paths": {"bulk": "bulk"}})
    context = JobContext("train_sae", settings, FRIDAY, "blocks.1")
    vars(context)["model_version"] = 3  # what the registry would say
    named = RepresentationSet.of_context(context, "dev")
    assert named == RepresentationSet("bulk", "recommender-shop", 3, "blocks.1", "dev", FRIDAY)
    assert RepresentationSet.of_context(context, "dev", "last").site == "last"


def test_a_site_leads_into_no_other_folder() -> None:
    with pytest.raises(InputError, match="no name of a probing site"):
        RepresentationSet("bulk", "recommender-shop", 3, "last/../..", "dev", FRIDAY)


def test_a_complete_set_is_found(tmp_path: Path) -> None:
    expected = in_bulk(tmp_path)
    Path(expected.path).mkdir(parents=True)
    assert not expected.exists()
    (Path(expected.path) / "_SUCCESS").touch()
    assert expected.exists()
    assert expected.require() == expected.path


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "no marker"])
def test_a_set_that_is_not_complete_names_the_job_to_run(tmp_path: Path, made: bool) -> None:
    expected = in_bulk(tmp_path)
    if made:
        Path(expected.path).mkdir(parents=True)
        (Path(expected.path) / "part-0.parquet").touch()
    with pytest.raises(InputError, match=r"extract_representations for dt=2026-11-20"):
        expected.require()
