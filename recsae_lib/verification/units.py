"""Dictionaries named and judged side by side, all in the same pass: those that an SAE is compared with, or versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.dictionaries import dictionary_of, first_id
from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.latent_runs import ArrowMap
from recsae_lib.concepts.levels import live_latents
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.spark.shipping import ShippedFolder, ship_folder
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.dictionaries import Dictionary
from recsae_lib.sae.encoding import ENCODED_COLUMNS, encode_batches
from recsae_lib.verification.judging import JudgedDictionary
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.verdicts import Verdicts, judge


@dataclass(frozen=True)
class Baselines:
    """All dictionaries beside the audited SAE, as they were named and judged.

    Parameters
    ----------
    dictionaries : each has its place among the ids, from 1.
    activations : (user_id, latent_ids, activations) of the units of all of them, one row a user of the sample.
    latent_items, concept_terms : columns of the tables of these names.
    verdicts : of the units that are judged.
    live : how many units of each dictionary fire for anybody, by its place; more than are judged where some are drawn.
    kept : what `release` lets go.
    """

    dictionaries: Sequence[Dictionary]
    activations: DataFrame
    latent_items: DataFrame
    concept_terms: DataFrame
    verdicts: Verdicts
    live: Mapping[int, int]
    kept: Sequence[DataFrame] = ()

    def number_of(self, kind: UnitKind) -> int | None:
        """Place of the first dictionary of a kind; None without one."""
        numbers = [n for n, one in enumerate(self.dictionaries, start=1) if one.kind == kind]
        return numbers[0] if numbers else None

    def release(self) -> None:
        """Let Spark forget everything."""
        self.activations.unpersist()
        self.verdicts.release()
        for rows in self.kept:
            free(rows)


def judge_baselines(
    dictionaries: Sequence[Dictionary], audited: JudgedDictionary, around: Surroundings, settings: Settings
) -> Baselines:
    """Judge the dictionaries that stand beside the audited SAE (`judge_side_by_side`), of each about
    `coverage.baseline_units` units, drawn by hash: all where there are no more.

    Parameters
    ----------
    audited : the SAE, in which the first replica is found again, and whose dose is the equal one.
    """
    partners = [_partner(one, dictionaries, audited) for one in dictionaries]
    return judge_side_by_side(dictionaries, partners, audited, around, settings, settings.coverage.baseline_units)


def judge_side_by_side(
    dictionaries: Sequence[Dictionary],
    partners: Sequence[Path | None],
    audited: JudgedDictionary,
    around: Surroundings,
    settings: Settings,
    most_units: int | None = None,
) -> Baselines:
    """Take the units of all dictionaries through the same evidence, terms and judge as the latents of an audit.

    A step takes all dictionaries at once: one plan, one shuffle. Their evidence is that of at most
    `coverage.baseline_users` users, drawn by hash: all where there are no more.

    Parameters
    ----------
    partners : of each dictionary the folder of the one in which its units are looked for; None without one.
    audited : the dictionary whose dose is the equal one.
    most_units : about how many units of each are judged; None for all.
    """
    alike = _alike(dictionaries)
    spark = around.items.sparkSession
    folders = {n: ship_folder(spark, one.folder) for n, one in _numbered(dictionaries) if n not in alike}
    encoded = (
        around.representations.where(_is_drawn(around.representations, settings))
        .mapInArrow(encode_dictionaries(folders), ENCODED_COLUMNS)
        .persist()
    )
    construct = in_construct_half(F.col("user_id"), settings.evidence.salt)
    latent_items = keep(
        link_latents_to_items(encoded.where(construct), around.linked, settings.evidence.items_per_latent)
    )
    terms = keep(concept_terms(latent_items, around.items, settings.terms))
    firing = keep(live_latents(encoded))
    live, all_terms, all_items = (_with_copies(rows, alike) for rows in (firing, terms, latent_items))
    numbers = {row[0]: row[1] for row in live.groupBy(dictionary_of()).count().collect()}  # a row a dictionary
    if most_units is not None:
        live = live.where(_is_judged(numbers, most_units, settings))
    judged = [
        JudgedDictionary(n, one.folder, partner)
        for (n, one), partner in zip(_numbered(dictionaries), partners, strict=True)
    ]
    verdicts = judge(judged, live, all_terms, all_items, around, audited, settings)
    return Baselines(dictionaries, encoded, latent_items, all_terms, verdicts, numbers, (firing, latent_items, terms))


def _numbered(dictionaries: Sequence[Dictionary]) -> list[tuple[int, Dictionary]]:
    return list(enumerate(dictionaries, start=1))


def _is_drawn(representations: DataFrame, settings: Settings) -> Column:
    users = representations.count()
    place = F.xxhash64(F.lit("baselines"), F.lit(settings.seed), "user_id")
    return F.pmod(place, F.lit(max(users, 1))) < settings.coverage.baseline_users


def _is_judged(live: Mapping[int, int], most: int, settings: Settings) -> Column:
    """Whether a unit is among the about `most` that are drawn of its dictionary; those that are alike draw alike."""
    units = F.create_map(*(F.lit(part) for pair in live.items() for part in pair))[dictionary_of()]
    place = F.col("latent_id").bitwiseAND(F.lit(first_id(1) - 1))
    return F.pmod(F.xxhash64(F.lit("baseline units"), F.lit(settings.seed), place), units) < most


def _alike(dictionaries: Sequence[Dictionary]) -> dict[int, int]:
    """Dictionaries that fire as another one does, and write something else: an untrained SAE with a fitted decoder.

    Its evidence and terms are those of the other one.
    """
    untrained = {one.number: n for n, one in _numbered(dictionaries) if one.kind == UnitKind.UNTRAINED}
    fitted = [(n, one) for n, one in _numbered(dictionaries) if one.kind == UnitKind.UNTRAINED_FITTED]
    return {n: untrained[one.number] for n, one in fitted if one.number in untrained}


def _with_copies(rows: DataFrame, alike: dict[int, int]) -> DataFrame:
    """Rows of units, and those of the dictionaries that are alike, under ids of their own."""
    copies = rows
    for number, original in alike.items():
        shift = F.lit(first_id(number) - first_id(original))
        copy = rows.where(dictionary_of() == original).withColumn("latent_id", F.col("latent_id") + shift)
        copies = copies.unionByName(copy)
    return copies


def _partner(one: Dictionary, dictionaries: Sequence[Dictionary], audited: JudgedDictionary) -> Path | None:
    """Folder of the next dictionary of the same kind, the first after the last.

    Replicas stand in a ring with the audited SAE. Raw dimensions are what they are whatever the seed.
    """
    if one.kind == UnitKind.DIMENSION:
        return one.folder
    ring = [other.folder for other in dictionaries if other.kind == one.kind]
    if one.kind == UnitKind.SAE:
        ring.append(audited.folder)
    if len(ring) < 2:
        return None
    return ring[(ring.index(one.folder) + 1) % len(ring)]


def encode_dictionaries(folders: Mapping[int, ShippedFolder]) -> ArrowMap:
    """Make the function that encodes Arrow batches with several dictionaries, as `encode_batches` does with one.

    The units of each stand after those of the one before, under the ids of its number.
    """

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoders = {number: encode_batches(folder) for number, folder in folders.items()}
        for batch in batches:
            codes = [(number, next(iter(encoder([batch])))) for number, encoder in encoders.items()]
            yield _side_by_side(batch.column("user_id"), codes)

    return encode


def _side_by_side(user_ids: pa.Array, codes: Sequence[tuple[int, pa.RecordBatch]]) -> pa.RecordBatch:
    """Put the codes of each user by several dictionaries behind each other."""
    lengths = np.stack([np.diff(batch.column("latent_ids").offsets.to_numpy()) for _, batch in codes], axis=1)
    ends = np.cumsum(lengths.ravel()).reshape(lengths.shape)
    total = int(lengths.sum())
    ids, values = np.empty(total, np.int32), np.empty(total, np.float32)
    for place, (number, batch) in enumerate(codes):
        counts = lengths[:, place]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        where = np.repeat(ends[:, place] - counts, counts) + within
        ids[where] = batch.column("latent_ids").flatten().to_numpy() + first_id(number)
        values[where] = batch.column("activations").flatten().to_numpy()
    offsets = pa.array(np.concatenate([[0], ends[:, -1]]).astype(np.int32))
    lists = [pa.ListArray.from_arrays(offsets, pa.array(flat)) for flat in (ids, values)]
    return pa.RecordBatch.from_arrays([user_ids, *lists], names=["user_id", "latent_ids", "activations"])
