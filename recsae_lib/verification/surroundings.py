"""What units are judged in, as the jobs find it: users, items, the recommender, and the dictionaries."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from recsae_lib.concepts.linking import linked_items
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.warehouse import tables
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.dictionaries import first_replica
from recsae_lib.verification.judging import JudgedDictionary, ScoringModel


@dataclass(frozen=True)
class Surroundings:
    """What units are judged in, the same for all of them.

    Parameters
    ----------
    representations : (user_id, representation ARRAY<FLOAT>), one row a user.
    linked : (user_id, item_ids ARRAY<STRING>), one row a user.
    items : the catalogue.
    interactions : (user_id, item_id, …), what users have seen.
    model : the recommender; None where the representations are not what items are scored from.
    """

    representations: DataFrame
    linked: DataFrame
    items: DataFrame
    interactions: DataFrame
    model: ScoringModel | None

    @classmethod
    def of_context(cls, context: JobContext) -> Surroundings:
        """Read the tables and representations of an audit."""
        warehouse = context.warehouse
        representations = context.spark.read.parquet(RepresentationSet.of_context(context, "last").require())
        recommendations = warehouse.read_filled(tables.RECOMMENDATIONS)
        return cls(
            representations.select("user_id", "representation"),
            linked_items(recommendations, context.settings.evidence),
            warehouse.read_filled(tables.ITEMS),
            warehouse.read_filled(tables.INTERACTIONS),
            _scoring_model(context),
        )


def _scoring_model(context: JobContext) -> ScoringModel | None:
    # Users are held out only at the site from which items are scored.
    if not RepresentationSet.of_context(context, "test").exists():
        log.info("%s: items are not scored from site %s: removal is not measured", context.job, context.site)
        return None
    folder = context.registry.fetch(context.recommender_name, context.model_version)
    return ScoringModel(folder, context.settings.recommender.factory)


def audited_dictionary(context: JobContext) -> JudgedDictionary:
    """The SAE under audit, and its first replica where it has one."""
    folder = context.registry.fetch(context.sae_name, context.sae_version)
    return JudgedDictionary(0, folder, first_replica(folder))
