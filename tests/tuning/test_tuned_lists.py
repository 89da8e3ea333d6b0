from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from pyspark.sql import SparkSession

from recsae_lib.config import ExternalSettings, ModuleSettings, SasrecSettings, TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.lightgcn import LightGcn
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.families.timirec import Timirec
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.probing import find_sites, probe
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.recommend import recommend, recommend_batches
from recsae_lib.recommenders.replacing import represent_from
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import save_recommender
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.tuning import tuned_lists
from recsae_lib.tuning.moves import Mode, Move, ResolvedTuning
from recsae_lib.tuning.tuned_lists import Tuner, places_changed, tune

USERS, ITEMS, D, TOP_N, BLOCK = 50, 40, 8, 5, 16
ITEM_IDS = pa.array([f"i{n:02d}" for n in range(ITEMS)])


def foreign() -> ModuleRecommender:
    settings = ModuleSettings.model_validate(
        {
            "factory": "tests.foreign_ranker:build_ranker",
            "arguments": {"rows": ITEMS + 1},
            "history_length": 6,
            "item_embeddings": "items.weight",
        }
    )
    return ModuleRecommender.of(settings, torch.arange(1, ITEMS + 1), None)


def external() -> External:
    model = External(ITEMS, D, ExternalSettings())
    model.items = torch.randn(ITEMS, D)
    return model


def built(name: str) -> Recommender:
    torch.manual_seed(0)
    return {
        "bpr_mf": lambda: BprMf(USERS, ITEMS, D).eval(),
        "lightgcn": lambda: LightGcn(USERS, ITEMS, D).eval(),
        "sasrec": lambda: Sasrec(ITEMS, D, SasrecSettings(layers=2, history_length=6)).eval(),
        "timirec": lambda: Timirec(ITEMS, D, TimirecSettings(history_length=6)).eval(),
        "foreign": foreign,
        "external": external,
    }[name]()


CASES = [
    *[(name, "last") for name in ("bpr_mf", "lightgcn", "sasrec", "timirec", "foreign", "external")],
    *[("foreign", "encoder.layers.0"), ("sasrec", "blocks.0"), ("timirec", "predictor"), ("bpr_mf", "users")],
]


def users(with_x: bool = False) -> pa.RecordBatch:
    """Users with 1 to 39 items seen."""
    random = np.random.default_rng(3)
    seen = [random.permutation(ITEMS)[: 1 + (7 * user) % (ITEMS - 1)].tolist() for user in range(USERS)]
    columns = {
        "user_id": pa.array([f"u{n}" for n in range(USERS)]),
        "user_index": pa.array(range(USERS), pa.int32()),
        "item_indices": pa.array(seen, pa.list_(pa.int32())),
    }
    if with_x:
        x = random.standard_normal((USERS, D)).astype(np.float32)
        columns["representation"] = pa.array(list(x), pa.list_(pa.float32()))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def dictionary(dimension: int = D) -> SparseAutoencoder:
    torch.manual_seed(1)
    sample = torch.randn(50, dimension) / 10
    return SparseAutoencoder.initialise(sample, 3 * dimension, 4, seed=2).requires_grad_(False)


def tuning(mode: Mode, strength: float, latents: list[int], name: str = "a") -> ResolvedTuning:
    return ResolvedTuning(name, Move(mode, np.array(latents), np.ones(len(latents))), strength)


def tuner(name: str, site: str, *tunings: ResolvedTuning) -> Tuner:
    model = built(name)
    (place,) = find_sites(model, [site])
    return Tuner(model, dictionary(place.dimension), place, tunings, ITEM_IDS, TOP_N, BLOCK)


def recommended(model: Recommender, batch: pa.RecordBatch) -> pa.Table:
    columns = [*batch.columns, batch.column("item_indices")]
    given = pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, "context_indices"])
    return pa.Table.from_batches(recommend_batches([given], model, ITEM_IDS, TOP_N, BLOCK))


@pytest.mark.parametrize(("name", "site"), CASES)
def test_a_strength_that_changes_nothing_changes_no_byte(name: str, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned_lists, "STEP_USERS", 40)  # not a multiple of the block
    tunings = [tuning("multiply", 1.0, [0, 1], "m"), tuning("add", 0.0, [2], "a"), tuning("add", 0.9, [3, 4], "moves")]
    it, batch = tuner(name, site, *tunings), users(with_x=name == "external")
    found = pa.Table.from_batches(it.run([batch]))
    expected = recommended(it.model, batch)
    for which in ("m", "a"):
        rows = found.filter(pc.equal(found["tuning"], which))
        for column in ("user_id", "item_ids", "scores"):
            assert rows[column].combine_chunks().equals(expected[column].combine_chunks()), (which, column)
        assert rows["changed"].to_pylist() == [0] * USERS
    assert found.num_rows == 3 * USERS
    moved = found.filter(pc.equal(found["tuning"], "moves"))
    assert not moved["scores"].combine_chunks().equals(expected["scores"].combine_chunks()), "the third one does move"


@pytest.mark.parametrize(
    ("name", "site"), [("bpr_mf", "last"), ("foreign", "encoder.layers.0"), ("sasrec", "blocks.0")]
)
@pytest.mark.parametrize("mode", ["multiply", "add"])
def test_tuned_lists_equal_a_plain_computation(
    name: str, site: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned_lists, "STEP_USERS", 16)
    monkeypatch.setattr(tuned_lists, "SCORED_USERS", 3)
    strength, latents = 2.5, [1, 7, 20]
    it, batch = tuner(name, site, tuning(mode, strength, latents)), users()
    sae, model = it.sae, it.model
    histories = histories_from_arrow(batch.column("user_index"), batch.column("item_indices"))
    inputs = model.build_inputs(histories)
    x = probe(model, inputs, [it.site])[site]
    activations, ids = sae.encode(x)
    z = torch.zeros(USERS, sae.num_latents).scatter_add_(1, ids, activations)
    change = torch.zeros_like(z)
    for latent in latents:
        change[:, latent] = (strength - 1) * z[:, latent] if mode == "multiply" else strength
    scores = represent_from(model, inputs, it.site, x + change @ sae.W_dec) @ model.item_embeddings().T
    before = represent_from(model, inputs, it.site, x) @ model.item_embeddings().T
    found = pa.Table.from_batches(it.run([batch])).to_pylist()
    counted = []
    for user, seen in enumerate(batch.column("item_indices").to_pylist()):
        lists = []
        for of in (scores, before):
            order = np.argsort(-of[user].numpy(), kind="stable")
            lists.append([ITEM_IDS[item].as_py() for item in order if item not in set(seen)][:TOP_N])
        assert found[user]["item_ids"] == lists[0], user
        assert found[user]["changed"] == len(set(lists[0]) - set(lists[1]))
        counted.append(found[user]["changed"])
    assert max(counted) >= 2, "lists do change"
    assert {0} != set(counted)
    fires = (z[:, latents] > 0).any(1).numpy()
    assert 0 < fires.sum() < USERS
    if mode == "multiply":
        assert not np.array(counted)[~fires].any()


FEATURES, EACH = 6, 10


def planted(*tunings: ResolvedTuning) -> tuple[Tuner, pa.RecordBatch, np.ndarray]:
    """Users like two of six features; coordinate f of x says how much, unit f of the dictionary reads and writes it."""
    random, users, d = np.random.default_rng(5), 300, FEATURES + 2
    liked = np.stack([random.choice(FEATURES, 2, replace=False) for _ in range(users)])
    x = random.normal(0, 0.05, (users, d)).astype(np.float32)
    np.put_along_axis(x, liked, random.uniform(2, 4, liked.shape).astype(np.float32), axis=1)
    vectors = random.normal(0, 0.05, (FEATURES * EACH, d)).astype(np.float32)
    vectors[np.arange(len(vectors)), np.arange(len(vectors)) // EACH] = random.uniform(0.5, 1.5, len(vectors))
    model = External(len(vectors), d, ExternalSettings())
    model.items = torch.from_numpy(vectors)
    sae = SparseAutoencoder(torch.eye(d), torch.full((d,), -0.5), torch.eye(d), torch.zeros(d), 3)
    names = ["user_id", "user_index", "item_indices", "representation"]
    columns = [
        pa.array([f"u{n}" for n in range(users)]),
        pa.nulls(users, pa.int32()),
        pa.array([[n % len(vectors)] for n in range(users)], pa.list_(pa.int32())),
        pa.array(list(x), pa.list_(pa.float32())),
    ]
    ids = pa.array([f"{n // EACH}:{n:02d}" for n in range(len(vectors))])
    last = find_sites(model, ["last"])[0]
    it = Tuner(model, sae.requires_grad_(False), last, tunings, ids, 8, 64)
    return it, pa.RecordBatch.from_arrays(columns, names=names), liked


def test_a_planted_feature_goes_and_comes_with_its_latent() -> None:
    it, batch, liked = planted(
        tuning("multiply", 1.0, [2], "as it is"),
        tuning("multiply", 0.0, [2], "removed"),
        tuning("multiply", 2.0, [2], "raised"),
        tuning("multiply", 0.0, [7], "idle"),
        tuning("add", 4.0, [2], "for all"),
    )
    fires = (liked == 2).any(1)
    found: dict[str, list[dict[str, Any]]] = {one.name: [] for one in it.tunings}
    for row in pa.Table.from_batches(it.run([batch])).to_pylist():
        found[row.pop("tuning")].append(row)

    def share(name: str, of: np.ndarray) -> float:
        lists = [found[name][user]["item_ids"] for user in np.flatnonzero(of)]
        return float(np.mean([item.startswith("2:") for items in lists for item in items]))

    assert share("as it is", fires) > 0.25
    assert share("removed", fires) <= share("as it is", fires) / 5
    assert share("raised", fires) > 1.3 * share("as it is", fires)
    assert share("for all", ~fires) > share("as it is", ~fires) + 0.2
    for name in ("removed", "raised", "idle"):
        for user in np.flatnonzero(~fires) if name != "idle" else range(len(fires)):
            assert found[name][user] == found["as it is"][user]


def test_changed_places_by_hand() -> None:
    before = np.array([[3, 1, 2], [4, -1, -1], [0, 1, 2]])
    after = np.array([[2, 3, 9], [4, 5, -1], [3, 4, 5]])
    assert places_changed(after, before).tolist() == [1, 1, 3]
    assert places_changed(before, before).tolist() == [0, 0, 0]


def test_a_strength_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(InputError, match=r"Tuning far moves representations beyond all numbers.*smaller strength"):
        list(tuner("bpr_mf", "last", tuning("add", 1e39, [1], "far")).run([users()]))
    with pytest.raises(InputError, match="Tuning far moves"):
        list(tuner("bpr_mf", "users", tuning("multiply", 1e39, [1], "far")).run([users()]))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder with a SASRec and a dictionary of it."""
    (tmp_path / "model").mkdir()
    write_vocabulary(tmp_path / "model", "item", [ITEM_IDS])
    model = built("sasrec")
    assert isinstance(model, Sasrec)
    save_recommender(model, Split(), tmp_path / "model")
    save_sae(dictionary(), tmp_path / "sae", {})
    return tmp_path


@pytest.mark.parametrize("site", ["last", "blocks.0"])
def test_spark_tunes_all_users_and_leaves_the_others(spark: SparkSession, stored: Path, site: str) -> None:
    rows = [(row["user_id"], None, row["item_indices"]) for row in users().to_pylist()]
    histories = spark.createDataFrame(rows, "user_id string, user_index int, item_indices array<int>").repartition(3)
    tunings = [tuning("multiply", 1.0, [1], "same"), tuning("add", 2.0, [1], "more")]
    options = {"top_n": TOP_N, "block_users": BLOCK}
    found = tune(histories, stored / "model", stored / "sae", tunings, site, **options).collect()
    expected = recommend(histories, stored / "model", context_items=1, **options).collect()
    lists = {(row["tuning"], row["user_id"]): (row["item_ids"], row["scores"]) for row in found}
    assert len(found) == len(lists) == 2 * USERS
    assert {user: made for (name, user), made in lists.items() if name == "same"} == {
        row["user_id"]: (row["item_ids"], row["scores"]) for row in expected
    }
    assert sum(row["changed"] for row in found if row["tuning"] == "more") > USERS / 2


def test_what_cannot_be_tuned_is_refused(spark: SparkSession, stored: Path) -> None:
    histories = spark.createDataFrame([], "user_id string, user_index int, item_indices array<int>")
    with pytest.raises(InputError, match=r"no probing site 'blocks\.7'"):
        tune(histories, stored / "model", stored / "sae", [], "blocks.7", TOP_N, BLOCK)
    with pytest.raises(InputError, match=r"at blocks\.0\.attention_in have 24 dimensions, the SAE takes 8"):
        tune(histories, stored / "model", stored / "sae", [], "blocks.0.attention_in", TOP_N, BLOCK)
    lists = stored / "lists"
    lists.mkdir()
    write_vocabulary(lists, "item", [ITEM_IDS])
    save_recommender(External(ITEMS, 0, ExternalSettings()), Split(), lists)
    with pytest.raises(InputError, match=r"without item vectors: .*recommender\.external\.item_embeddings"):
        tune(histories, lists, stored / "sae", [], "last", TOP_N, BLOCK)
