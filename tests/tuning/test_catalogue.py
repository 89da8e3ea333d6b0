from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae_lib.errors import InputError
from recsae_lib.tuning.catalogue import find_titled, read_catalogue, read_titles

TITLES = ["Alien (1979)", "Aliens (1986)", "Heat (1995)", "Up", "Up in the Air", "Heathers"]
FEATURES = [["horror", "space"], ["space"], ["crime", None], [], ["crime", "crime"], ["crime"]]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Six items in two files, the later ones first."""
    for name, items in (("a", [3, 4, 5]), ("b", [2, 0, 1])):
        columns = {
            "item_index": pa.array(items, pa.int32()),
            "title": pa.array([TITLES[item] for item in items]),
            "interactions": pa.array([10 * item for item in items], pa.int64()),
            "derived": pa.array([["popularity: low"] if item < 2 else [] for item in items], pa.list_(pa.string())),
            "features": pa.array([FEATURES[item] for item in items], pa.list_(pa.string())),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return str(tmp_path)


def test_items_keep_popularity_and_frequent_features(folder: str) -> None:
    catalogue = read_catalogue(folder, 6, minimum_items=2)
    assert catalogue.popularity.tolist() == [0, 10, 20, 30, 40, 50]
    assert catalogue.features == ("crime", "space", "popularity: low")
    assert catalogue.is_derived.tolist() == [False, False, True]
    assert catalogue.carriers(0).tolist() == [0, 0, 1, 0, 1, 1]
    assert catalogue.carriers(1).tolist() == [1, 1, 0, 0, 0, 0]
    assert catalogue.carriers(2).tolist() == [1, 1, 0, 0, 0, 0]


def test_a_catalogue_of_other_items_is_refused(folder: str) -> None:
    with pytest.raises(InputError, match="1 of 7 items are missing"):
        read_catalogue(folder, 7, minimum_items=2)
    with pytest.raises(InputError, match="does not hold the items"):
        read_catalogue(folder, 5, minimum_items=2)


def test_titles_are_found_by_item(folder: str) -> None:
    assert read_titles(folder, np.array([4, 0, 4])) == {0: "Alien (1979)", 4: "Up in the Air"}


@pytest.mark.parametrize(
    ("title", "item"), [("alien", 0), ("Aliens", 1), ("HEAT", 2), ("Up", 3), ("up in", 4), ("heathers", 5)]
)
def test_a_title_is_found_without_its_year(folder: str, title: str, item: int) -> None:
    assert find_titled(folder, title) == item


@pytest.mark.parametrize(("title", "message"), [("he", "More than one.*Heat .1995.; Heathers"), ("zzz", "No item")])
def test_a_title_that_is_none_or_many_is_refused(folder: str, title: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_titled(folder, title)
