"""Representations of your own (kind external): validated, and written as if they had been extracted here."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark import StorageLevel
from pyspark.sql import SparkSession

from recsae_lib.config import DEFAULT_SITE, RepresentationSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.tables import read_own_rows, validate_vectors, write_rejected
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.representations.write import WrittenSet, write_representations


@dataclass(frozen=True)
class OwnRepresentations:
    """What became of a table of yours.

    Parameters
    ----------
    written : the users of rows last.
    dimension : d
    refused : rows that cannot be used; they lie in `RepresentationSet.rejected` with their reasons.
    """

    written: WrittenSet
    dimension: int
    refused: int


def write_own_representations(
    spark: SparkSession,
    name: str,
    model_dimension: int,
    last: RepresentationSet,
    training: RepresentationSet,
    settings: RepresentationSettings,
) -> OwnRepresentations:
    """Write the usable rows of a table of yours as both sets, and the others with the reason.

    Nobody is held out of a model that is not known: there are no rows dev and test.

    Parameters
    ----------
    name : table, or Parquet, of (user_id, representation).
    model_dimension : of the item vectors; 0 where there are none.

    Raises
    ------
    InputError : the table cannot be read or has no usable row, its vectors are not as long as the item vectors, or
        other sites than the default one are set.
    """
    if settings.sites != (DEFAULT_SITE,):
        raise InputError("Representations of your own have one site, last", "Leave representations.sites unset")
    rows = read_own_rows(spark, name, {"user_id": "id", "representation": "vector"}).persist(StorageLevel.DISK_ONLY)
    validated = validate_vectors(rows, "user_id", "representation")
    first = validated.accepted.first()
    if first is None:
        raise InputError(
            f"{name} has no usable representation", "Give it (user_id, representation), arrays of finite floats"
        )
    dimension = len(first["representation"])
    if model_dimension not in (0, dimension):
        raise InputError(
            f"{name} has vectors of {dimension} values, the item vectors have {model_dimension}",
            "Give both of the same model: recommender.external",
        )
    sizes = settings.row_group_mib, settings.minimum_row_groups
    written = write_representations(validated.accepted, last, *sizes)
    write_representations(spark.read.schema(validated.accepted.schema).parquet(last.path), training, *sizes)
    refused = write_rejected(validated, last.rejected("representations"))
    rows.unpersist()
    return OwnRepresentations(written, dimension, refused)
