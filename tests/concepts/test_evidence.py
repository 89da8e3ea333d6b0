"""Evidence against a plain sparse product, ties and repeats, and sums that no order of rows can change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from scipy.sparse import csr_matrix

from recsae_lib.concepts.evidence import PAIRS_AT_ONCE, link_latents_to_items, sum_by_item
from recsae_lib.platform.job.failures import bad_input
from recsae_lib.platform.warehouse.tables import LATENT_ITEMS

ACTIVATIONS = "user_id string, latent_ids array<int>, activations array<float>"
LINKED = "user_id string, item_ids array<string>"


def frames(
    spark: SparkSession, activations: list[tuple[str, list[int], list[float]]], linked: list[tuple[str, list[str]]]
) -> tuple[DataFrame, DataFrame]:
    return spark.createDataFrame(activations, ACTIVATIONS), spark.createDataFrame(linked, LINKED)


def test_weights_users_and_ranks(spark: SparkSession) -> None:
    fired, linked = frames(
        spark,
        [("anna", [7, 2], [2.0, 0.5]), ("bert", [2], [0.25]), ("carl", [], []), ("dora", [2], [8.0])],
        [("anna", ["alien", "heat"]), ("bert", ["heat", "solaris"]), ("carl", ["heat"]), ("emil", ["heat"])],
    )
    evidence = link_latents_to_items(fired, linked, 10)
    assert sorted(map(tuple, evidence.collect())) == [
        (2, "alien", 0.5, 1, 2),
        (2, "heat", 0.75, 2, 1),
        (2, "solaris", 0.25, 1, 3),
        (7, "alien", 2.0, 1, 1),  # equal weights: alien before heat
        (7, "heat", 2.0, 1, 2),
    ]
    declared = {field.name: field.dataType for field in LATENT_ITEMS.schema}
    assert {field.name: field.dataType for field in evidence.schema} == {
        name: declared[name] for name in ("latent_id", "item_id", "weight", "users", "rank")
    }


def test_an_item_that_stands_twice_in_a_list_counts_once(spark: SparkSession) -> None:
    fired, linked = frames(spark, [("anna", [1], [3.0])], [("anna", ["alien", "heat", "alien"])])
    assert sorted(map(tuple, link_latents_to_items(fired, linked, 10).collect())) == [
        (1, "alien", 3.0, 1, 1),
        (1, "heat", 3.0, 1, 2),
    ]


def test_a_latent_that_does_not_fire_links_nothing(spark: SparkSession) -> None:
    fired, linked = frames(spark, [("anna", [1, 2], [3.0, 0.0])], [("anna", ["alien"])])
    assert [row["latent_id"] for row in link_latents_to_items(fired, linked, 10).collect()] == [1]


def test_ties_at_the_cut_go_by_item_id(spark: SparkSession) -> None:
    names = [f"item{n:03d}" for n in range(60)]
    shuffled = np.random.default_rng(5).permutation(names).tolist()
    fired, linked = frames(spark, [("anna", [1], [3.0]), ("bert", [1], [9.0])], [("anna", shuffled), ("bert", ["z"])])
    rows = sorted(link_latents_to_items(fired, linked, 5).collect(), key=lambda row: row["rank"])
    assert [(row["rank"], row["item_id"]) for row in rows] == list(enumerate(["z", *names[:4]], start=1))


@st.composite
def users(draw: st.DrawFn) -> list[tuple[list[int], list[float], list[str]]]:
    def user() -> tuple[list[int], list[float], list[str]]:
        latents = draw(st.lists(st.integers(0, 6), unique=True, max_size=4))
        values = [draw(st.sampled_from([0.1, 0.3, 0.7, 12.0, 1e-3])) for _ in latents]
        return latents, values, draw(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=8))

    return [user() for _ in range(draw(st.integers(1, 30)))]


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a Spark query an example is too slow to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(drawn=users(), most=st.sampled_from([3, 50]))
def test_evidence_is_that_of_a_sparse_product(
    spark: SparkSession, drawn: list[tuple[list[int], list[float], list[str]]], most: int
) -> None:
    z = np.zeros((7, len(drawn)))
    linked = np.zeros((len(drawn), 26))
    for n, (latents, values, items) in enumerate(drawn):
        z[latents, n] = np.float32(values)
        linked[n, [ord(item) - ord("a") for item in items]] = 1
    weights = (csr_matrix(z) @ csr_matrix(linked)).toarray()
    counts = (z > 0).astype(int) @ linked.astype(int)
    expected = {}
    for latent in range(7):
        # Sums that are equal in arithmetic may differ in the last bit of a float product, hence the rounding.
        order = sorted(np.flatnonzero(weights[latent]), key=lambda item: (-round(weights[latent, item], 9), item))
        for rank, item in enumerate(order[:most], start=1):
            expected[latent, chr(ord("a") + item)] = (
                pytest.approx(weights[latent, item], rel=1e-6),
                counts[latent, item],
                rank,
            )
    fired, lists = frames(
        spark,
        [(f"u{n}", latents, values) for n, (latents, values, _) in enumerate(drawn)],
        [(f"u{n}", items) for n, (_, _, items) in enumerate(drawn)],
    )
    rows = link_latents_to_items(fired, lists, most).collect()
    assert {(row["latent_id"], row["item_id"]): (row["weight"], row["users"], row["rank"]) for row in rows} == expected


def test_no_order_of_rows_changes_a_bit_of_the_weights(spark: SparkSession) -> None:
    random = np.random.default_rng(11)
    names = [f"i{n}" for n in range(30)]
    fired = [(f"u{n}", [0, 1], random.exponential(size=2).astype(float).tolist()) for n in range(400)]
    linked = [(f"u{n}", random.choice(names, size=10, replace=False).tolist()) for n in range(400)]
    first = link_latents_to_items(*frames(spark, fired, linked), 30)
    again = link_latents_to_items(
        *(rows.repartition(7) for rows in frames(spark, fired[::-1], [(u, i[::-1]) for u, i in linked])), 30
    )
    assert sorted(map(tuple, first.collect())) == sorted(map(tuple, again.collect()))


def test_a_latent_that_fires_for_many_users_is_summed_in_parts() -> None:
    listed, rows = 5000, 2 * PAIRS_AT_ONCE // 5000 + 7
    activations = np.sort(np.random.default_rng(3).exponential(size=rows))[::-1]
    offsets = np.arange(0, rows * listed + 1, listed, dtype=np.int32)
    hashes = (np.arange(rows)[:, None] * 3 + np.arange(listed)) % 7000
    batches = pa.RecordBatch.from_arrays(
        [
            pa.array(np.full(rows, 4, np.int32)),
            pa.array(np.full(rows, activations[0])),
            pa.array(np.ones(rows, np.int64)),
            pa.array(activations),
            pa.ListArray.from_arrays(offsets, pa.array(hashes.ravel())),
        ],
        names=["latent_id", "largest", "pieces", "activation", "item_hashes"],
    )
    cut = [batches.slice(start, 100) for start in range(0, rows, 100)]
    (result,) = sum_by_item(7000)(iter(cut))
    expected = np.bincount(hashes.ravel(), weights=np.repeat(activations, listed), minlength=7000)
    order = np.argsort(result.column("item_hash").to_numpy())
    weights = result.column("steps").to_numpy() * result.column("step").to_numpy()
    np.testing.assert_allclose(weights[order], expected, rtol=1e-8)
    np.testing.assert_array_equal(result.column("users").to_numpy()[order], np.bincount(hashes.ravel(), minlength=7000))


def test_a_latent_in_pieces_comes_to_the_same_bits(spark: SparkSession) -> None:
    random = np.random.default_rng(12)
    names = [f"i{n}" for n in range(30)]
    fired = [(f"u{n}", [0, 1 + n % 2], [float(random.exponential()), 1.0]) for n in range(200)]
    linked = [(f"u{n}", random.choice(names, size=10, replace=False).tolist()) for n in range(200)]
    whole = sorted(map(tuple, link_latents_to_items(*frames(spark, fired, linked), 20).collect()))
    spark.conf.set("spark.sql.adaptive.enabled", "false")  # it would put the pieces together again
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    pieces = link_latents_to_items(*frames(spark, fired, linked), 20, users_of_piece=50)
    assert sorted(map(tuple, pieces.collect())) == whole
    assert len(whole) == 60


def test_two_items_of_one_hash_are_refused_not_added_up(spark: SparkSession) -> None:
    namesakes = ["item-00000000001", "item14be24H|y|HS"]
    fired, linked = frames(spark, [("anna", [1], [3.0]), ("bert", [1], [2.0])], [("anna", ["a", namesakes[0]])])
    assert link_latents_to_items(fired, linked, 10).count() == 2
    both = linked.union(spark.createDataFrame([("bert", [namesakes[1]])], LINKED))
    with pytest.raises(Exception, match="same 64-bit hash") as failure:
        link_latents_to_items(fired, both, 10).collect()
    line = bad_input(failure.value)
    assert line is not None
    assert line.endswith("has the same 64-bit hash as another one. Give one of the two items another id.")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_activation_that_is_no_number_is_refused(spark: SparkSession, value: float) -> None:
    fired, linked = frames(spark, [("anna", [1], [1.0]), ("bert", [1], [value])], [("anna", ["a"]), ("bert", ["a"])])
    with pytest.raises(Exception, match="InputError: Latent 1 has an activation that is no finite number"):
        link_latents_to_items(fired, linked, 10).collect()
