"""What tunings showed, read back from the table tuning_effects."""

from __future__ import annotations

from pyspark.sql import DataFrame

from recsae_lib.tuning.effects import COMPARISONS, Effect
from recsae_lib.tuning.findings import winner
from recsae_lib.tuning.measuring import EFFECT_FIELDS


def tuning_sentences(effects: DataFrame) -> list[str]:
    """A sentence for each tuning and comparison: which method did most.

    Parameters
    ----------
    effects : rows of tuning_effects, some hundred a tuning.
    """
    by_tuning: dict[str, list[Effect]] = {}
    for row in effects.select("tuning", *EFFECT_FIELDS).collect():
        by_tuning.setdefault(row["tuning"], []).append(Effect(*row[1:]))
    sentences = [
        (tuning, winner(rows, comparison)) for tuning, rows in sorted(by_tuning.items()) for comparison in COMPARISONS
    ]
    return [f"tuning {tuning}: {sentence}" for tuning, sentence in sentences if sentence is not None]
