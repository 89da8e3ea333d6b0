"""Extraction: every user's representation, by Spark inference over Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import DEFAULT_SITE, RepresentationSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.draws import first_by_hash
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.probing import Site, find_sites, probe
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.recommenders.worker import worker_recommender
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.representations.write import WrittenSet, write_sets

REPRESENTATION_COLUMNS = "user_id string"
HELD_OUT_COLUMNS = "user_id string, target_index int, seen_indices array<int>"


def sites_of(rows: RowKind, settings: RepresentationSettings) -> tuple[str, ...]:
    """Sites at which such rows are extracted: held-out users at the default one only, from which items are scored."""
    held_out = rows in ("dev", "test")
    return tuple(site for site in settings.sites if not held_out or site == DEFAULT_SITE)


def site_column(site: str) -> str:
    """Name of the column with the representations of one site."""
    return f"representation@{site}"


def extract(
    histories: DataFrame,
    model_folder: Path,
    rows: RowKind,
    settings: RepresentationSettings,
    seed: int,
    factory: str | None = None,
) -> DataFrame:
    """Probe the recommender for its representations (RecSAE, arXiv 2411.06112, section 3; METHOD.md section 1).

    Parameters
    ----------
    histories : `recommenders.grouping.INPUT_COLUMNS`, items oldest first; counted for test and dev. Users without an
        index are left out where the model reads it (`find_left_out` names them).
    model_folder : folder of `recommenders.store`.
    rows : ``last``, each user once, after the whole history. ``training``, a sequential model after each of up to
        ``settings.training_positions`` prefixes of the history (`training_positions`), any other model as ``last``.
        ``test`` and ``dev``, up to ``settings.fidelity_users`` users, drawn by hash among those with such an item,
        after all that they did before it.
    seed : of the two draws.
    factory : as `load_recommender`.

    Returns
    -------
    DataFrame : `REPRESENTATION_COLUMNS`; for test and dev `HELD_OUT_COLUMNS`, where target_index is the interaction
        that follows the context and seen_indices the whole context, oldest first. Then a column `site_column`,
        ARRAY<FLOAT>, of each site (`sites_of`): one forward pass serves all.

    Raises
    ------
    InputError : the model has no such probing site, or (when the rows are computed) a representation is not finite.
    """
    model = load_recommender(model_folder, factory)
    sites = find_sites(model, sites_of(rows, settings))
    batch_size = settings.batch_size
    users = histories.where("user_index IS NOT NULL") if model.reads_user_index else histories
    reach = model.history_length or 0
    if rows in ("dev", "test"):
        contexts = _held_out_contexts(users, rows, settings.fidelity_users, seed, reach)
    elif rows == "training" and model.history_length is not None:
        contexts = _training_contexts(users, settings.training_positions, seed, reach)
    else:
        contexts = users.select("user_id", "user_index", _latest(F.size("item_indices"), reach).alias("item_indices"))
    shipped = ship_folder(histories.sparkSession, model_folder)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return represent_batches(batches, worker_recommender(shipped, factory), sites, batch_size)

    columns = HELD_OUT_COLUMNS if rows in ("dev", "test") else REPRESENTATION_COLUMNS
    representations = [f"`{site_column(site.name)}` array<float>" for site in sites]
    return contexts.mapInArrow(run, ", ".join([columns, *representations]))


def write_sites(
    extracted: DataFrame, targets: Sequence[RepresentationSet], settings: RepresentationSettings
) -> list[WrittenSet]:
    """Write what `extract` gave as one set a site; one pass over the rows serves all.

    Parameters
    ----------
    targets : sets of the same rows, one for each `site_column`.
    settings : `row_group_mib` and `minimum_row_groups` are read.

    Returns
    -------
    list[WrittenSet] : in the order of `targets`.
    """
    paths = {site_column(target.site): target.path for target in targets}
    written = write_sets(extracted, paths, "representation", settings.row_group_mib, settings.minimum_row_groups)
    return [written[column] for column in paths]


def training_positions(length: Column, user_id: Column, positions: int, seed: int) -> Column:
    """Draw n = min(positions, length) positions t of a history, without replacement; all where n = length (ours).

    ::

        first(j) = ⌊j · length / n⌋,   j = 0 … n
        t_j = first(j) + hash(user_id, seed, j) mod (first(j+1) − first(j)) + 1,   j = 0 … n−1

    One position from each of n strata of equal width (to within one): every position is as likely as the next, and
    the draw costs n hashes a user whatever the length. t counts the interactions read: 1 to length.

    Returns
    -------
    Column : ARRAY<INT>, rising.
    """
    draws = F.least(length, F.lit(positions))

    def first(stratum: Column) -> Column:
        return F.floor(stratum * length.cast("double") / draws)

    def draw(stratum: Column) -> Column:
        width = first(stratum + 1) - first(stratum)
        return (first(stratum) + F.pmod(F.xxhash64(user_id, F.lit(seed), stratum), width) + 1).cast("int")

    return F.transform(F.sequence(F.lit(0), draws - 1), draw)


def represent_batches(
    batches: Iterable[pa.RecordBatch], model: Recommender, sites: Sequence[Site], batch_size: int
) -> Iterator[pa.RecordBatch]:
    """Replace the columns user_index and item_indices (the context) of Arrow batches by one of each site, list<float>.

    Raises
    ------
    InputError : a representation is not finite; names the user.
    """
    for batch in batches:
        for start in range(0, batch.num_rows, batch_size):
            yield _represent_block(batch.slice(start, batch_size), model, sites)


def _represent_block(block: pa.RecordBatch, model: Recommender, sites: Sequence[Site]) -> pa.RecordBatch:
    histories = histories_from_arrow(block.column("user_index"), block.column("item_indices"))
    columns = {name: block.column(name) for name in block.schema.names if name not in ("user_index", "item_indices")}
    for site, representations in probe(model, model.build_inputs(histories), sites).items():
        x = representations.numpy()
        finite = np.isfinite(x).all(axis=1)
        if not finite.all():
            user = block.column("user_id")[int(np.argmin(finite))]
            raise InputError(
                f"The recommender's representation of user {user} at site {site} is not finite",
                "Train it again; its weights are damaged",
            )
        offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
        columns[site_column(site)] = pa.ListArray.from_arrays(offsets, pa.array(x.reshape(-1)))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _latest(end: Column, reach: int) -> Column:
    """Slice the latest `reach` of the first `end` interactions: all that the model reads, so all that is sent."""
    return F.slice("item_indices", F.greatest(end - reach + 1, F.lit(1)), F.least(end, F.lit(reach)))


def _training_contexts(users: DataFrame, positions: int, seed: int, reach: int) -> DataFrame:
    drawn = training_positions(F.size("item_indices"), F.col("user_id"), positions, seed)
    contexts = F.transform(drawn, lambda position: _latest(position, reach))
    return users.select("user_id", "user_index", F.explode(contexts).alias("item_indices"))


def _held_out_contexts(users: DataFrame, rows: RowKind, count: int, seed: int, reach: int) -> DataFrame:
    end = F.col("train_end" if rows == "dev" else "test_start")
    period_end = F.col("test_start") if rows == "dev" else F.size("item_indices")
    evaluated = users.where((F.col("train_end") >= 1) & (end < period_end))
    drawn = first_by_hash(evaluated, F.xxhash64("user_id", F.lit(seed)), count)
    return drawn.select(
        "user_id",
        "user_index",
        F.element_at("item_indices", end + 1).alias("target_index"),
        F.slice("item_indices", F.lit(1), end).alias("seen_indices"),
        _latest(end, reach).alias("item_indices"),
    )
