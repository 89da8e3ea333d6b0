"""What was trained elsewhere: vocabularies, rows and vectors of it, written by Spark and streamed from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import ExternalSettings, ModuleSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.storage.bulk import stream_columns
from recsae_lib.recommenders.foreign.external import External
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.foreign.tables import read_own_rows, validate_vectors, vectors_of
from recsae_lib.recommenders.inputs import in_order, with_item_index
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.training_data import COLUMNS, read_training_histories
from recsae_lib.recommenders.training_histories import TrainingHistories
from recsae_lib.recommenders.vocabulary import MOST_ROWS, VocabularyKind, write_vocabulary

NO_ROW = -1


@dataclass(frozen=True)
class PreparedModule:
    """A module of your own with the histories that measure it.

    Parameters
    ----------
    histories : over all items of the catalogue, as any other recommender is measured.
    known : (catalogue,) bool, whether the module has a row for the item; item indices of the model count these.
    """

    model: ModuleRecommender
    histories: TrainingHistories
    known: np.ndarray


def prepare_module(
    interactions: DataFrame, items: DataFrame, split: Split, settings: ModuleSettings, folder: Path, bulk_folder: str
) -> PreparedModule:
    """Number items (and users) by rising id, find their rows in the module, build it, and read every user's history.

    The vocabulary holds the ingested items that the module has a row for; users are those of the interactions that it
    has a row for. The histories are of all ingested items: what the module has no row for, it can neither read nor
    recommend, and it is measured all the same. The driver holds 8 bytes an item and a user beside the histories
    (`prepare_training_data`).

    Parameters
    ----------
    interactions : (user_id, item_id, ts, source_order, …)
    items : (item_id, …), the catalogue.
    split : what was held out of training, by the same rule as the module was trained.
    folder : existing model folder, where the vocabularies are written.
    bulk_folder : path or address that driver and executors share; what stands there is replaced.

    Raises
    ------
    InputError : a numbering cannot be read or has a faulty row, or knows nothing that was ingested; or the module does
        not keep to its contract.
    """
    spark = interactions.sparkSession
    ids = items.select("item_id")
    numbered = ids.withColumn("item_index", F.lit(None).cast("long"))
    if settings.items is not None:
        numbered = ids.join(read_numbering(spark, settings.items, "item"), "item_id", how="left")
    listed, catalogue = f"{bulk_folder}/items", folder.parent / "catalogue"
    numbered.orderBy("item_id").write.mode("overwrite").parquet(listed)
    numbers = _indices(listed, "item")
    known = numbers >= 0 if settings.items is not None else np.ones(len(numbers), dtype=bool)
    if not known.any():
        raise InputError(f"No ingested item is in {settings.items}", "Its item_id must be that of the data set")
    write_vocabulary(folder, "item", _known_ids(listed, known))
    catalogue.mkdir(exist_ok=True)
    write_vocabulary(catalogue, "item", _column(listed, "item_id"))

    rows = with_item_index(interactions, catalogue, split)
    if settings.users is not None:
        users = read_numbering(spark, settings.users, "user")
        rows = rows.join(users.select("user_id", F.col("user_index").cast("int")), "user_id", how="inner")
    else:
        rows = rows.withColumn("user_index", F.lit(None).cast("int"))
    histories = f"{bulk_folder}/histories"
    # Ranges of users, each sorted, are all users sorted.
    ordered = split.ends(in_order(rows.repartitionByRange("user_id"))).select(*COLUMNS, "user_index")
    ordered.write.mode("overwrite").parquet(histories)
    user_rows = None
    if settings.users is not None:
        if write_vocabulary(folder, "user", _column(histories, "user_id")) == 0:
            raise InputError(
                f"No user of the interactions is in {settings.users}", "Its user_id must be that of the data"
            )
        user_rows = torch.from_numpy(_indices(histories, "user"))
    item_rows = torch.from_numpy(numbers[known]) if settings.items is not None else len(numbers)
    model = ModuleRecommender.of(settings, item_rows, user_rows)
    return PreparedModule(model, read_training_histories(histories, len(known)), known)


def prepare_external(
    spark: SparkSession, items: DataFrame, settings: ExternalSettings, folder: Path, bulk_folder: str
) -> External:
    """Write the vocabulary, and read your item vectors where there are any.

    With item vectors the vocabulary holds the ingested items that have a usable one (`validate_vectors`); without, all
    ingested items. The vectors are written by Spark and streamed into one (n, d) float32 matrix on the driver.

    Raises
    ------
    InputError : a table cannot be read, or no ingested item has a usable vector.
    """
    ids, target = items.select("item_id"), f"{bulk_folder}/items"
    if settings.item_embeddings is None:
        read_own_rows(spark, settings.recommendations or "", {"user_id": "id", "item_ids": "ids"})
        ids.orderBy("item_id").write.mode("overwrite").parquet(target)
        count = write_vocabulary(folder, "item", _column(target, "item_id"))
        return External(count, 0, settings)
    rows = read_own_rows(spark, settings.item_embeddings, {"item_id": "id", "embedding": "vector"})
    known = validate_vectors(rows, "item_id", "embedding").accepted.join(ids, "item_id", how="left_semi")
    known.orderBy("item_id").write.mode("overwrite").parquet(target)
    count = write_vocabulary(folder, "item", _column(target, "item_id"))
    if count == 0:
        raise InputError(
            f"No ingested item has a usable vector in {settings.item_embeddings}",
            "Its item_id must be that of the data set, its embedding an array of finite floats, all of one length",
        )
    model, filled = None, 0
    for batch in stream_columns(target, ["embedding"]):
        if model is None:
            model = External(count, len(batch.column(0)[0]), ExternalSettings())
        vectors = vectors_of(batch.column(0), model.dimension)
        model.item_embeddings().numpy()[filled : filled + len(vectors)] = vectors
        filled += len(vectors)
    assert model is not None  # there is a row
    return model


def read_numbering(spark: SparkSession, name: str, kind: VocabularyKind) -> DataFrame:
    """Read (item_id, item_index) or (user_id, user_index) of a module of your own.

    Raises
    ------
    InputError : it cannot be read, an id or index is null or negative, or an id stands more than once.
    """
    key, index = f"{kind}_id", f"{kind}_index"
    rows = read_own_rows(spark, name, {key: "id", index: "index"})
    usable = F.coalesce(F.col(key).isNotNull() & F.col(index).between(0, MOST_ROWS), F.lit(False))
    faulty = rows.agg(F.count_if(~usable).alias("faulty")).first()
    repeated = rows.groupBy(key).count().where("count > 1").orderBy(key).first()
    if faulty is not None and faulty["faulty"]:
        raise InputError(f"{faulty['faulty']:,} rows of {name} have no {key} or no row of the module", "Mend them")
    if repeated is not None:
        raise InputError(f"{name} numbers {key} {repeated[key]!r} {repeated['count']} times", "Number each id once")
    return rows


def _indices(folder: str, kind: VocabularyKind) -> np.ndarray:
    """Return the rows of the module that stand in a folder, (rows,) int64, -1 where there is none."""
    columns = [column.fill_null(NO_ROW).to_numpy() for column in _column(folder, f"{kind}_index")]
    return np.concatenate([np.zeros(0, dtype=np.int64), *columns])


def _known_ids(folder: str, known: np.ndarray) -> Iterator[pa.Array]:
    begin = 0
    for ids in _column(folder, "item_id"):
        yield ids.filter(pa.array(known[begin : begin + len(ids)]))
        begin += len(ids)


def _column(folder: str, name: str) -> Iterator[pa.Array]:
    return (batch.column(0) for batch in stream_columns(folder, [name]))
