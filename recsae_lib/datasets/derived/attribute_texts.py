"""Attributes of items as features: ``city: Phoenix``. Their values are texts of others."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.item_texts import unescaped_list
from recsae_lib.platform.spark.unseen import cleaned
from recsae_lib.platform.warehouse.data_checks import LONGEST_DERIVED


def attribute_texts() -> Column:
    """ARRAY<STRING> of the attributes of an item, without HTML entities and characters that nobody sees; null where it
    has none.

    Left out is what is blank by then, or longer than 100 characters together with its name: such a text is no category,
    and cut it would be another one.
    """
    values = F.transform(unescaped_list(F.col("attributes.value")), lambda value: F.trim(cleaned(value)))

    def text(name: Column, value: Column) -> Column:
        return F.when(value != "", F.concat(F.trim(cleaned(name)), F.lit(": "), value))

    texts = F.zip_with(F.col("attributes.name"), values, text)
    return F.filter(texts, lambda one: F.length(one) <= LONGEST_DERIVED)
