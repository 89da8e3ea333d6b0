"""What is held out of training: each user's latest interactions, or all from a point in time on (METHOD.md section 1).

Two counts a user say it all, whichever the rule::

    history    i_1 … i_n                                             oldest first
    training   i_1 … i_a            a = train_end
    dev item   i_{a+1}              where 1 ≤ a < b
    test item  i_{b+1}              where 1 ≤ a and b < n            b = test_start

leave_one_out: a = n − 2, b = n − 1 for n ≥ 3; shorter histories are for training, a = b = n.
time: a counts the interactions before dev_from, b those before test_from.
The context of a held-out item is all that comes before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import SplitSettings
from recsae_lib.errors import InputError

SHORTEST_EVALUATED = 3  # interactions, leave-one-out: context, dev item, test item
DEV_SHARE, TEST_SHARE = 0.8, 0.9  # of the interactions come before, split by time
ACCURACY = 100_000  # of the quantiles of time: they are off by 1/100,000 of the rows


@dataclass(frozen=True)
class Split:
    """The rule as it was applied; a recommender keeps it with its weights, so that every later job holds out the same.

    Parameters
    ----------
    dev_from, test_from : microseconds since 1970 (UTC) where the periods start; None for leave-one-out.
    """

    dev_from: int | None = None
    test_from: int | None = None

    @classmethod
    def resolve(cls, settings: SplitSettings, interactions: DataFrame) -> Split:
        """Turn settings into points in time, by quantiles of `interactions` (… ts …) where none are set.

        Raises
        ------
        InputError : all interactions have the same time, or nearly so.
        """
        if settings.by == "leave_one_out":
            return cls()
        if settings.dev_from is not None and settings.test_from is not None:
            return cls(_microseconds(settings.dev_from), _microseconds(settings.test_from))
        quantiles = F.percentile_approx(F.unix_micros("ts"), [DEV_SHARE, TEST_SHARE], ACCURACY)
        row = interactions.agg(quantiles.alias("cuts"), F.min(F.unix_micros("ts")).alias("first")).first()
        first, (dev_from, test_from) = (row["first"], row["cuts"]) if row and row["cuts"] else (0, (0, 0))
        if not first < dev_from < test_from:
            raise InputError(
                "The interactions cannot be split by time: too many of them have the same",
                "Set recommender.split.by to leave_one_out, or dev_from and test_from to fitting times",
            )
        return cls(dev_from, test_from)

    def as_json(self) -> dict[str, int | None]:
        """What `from_json` reads."""
        return {"dev_from": self.dev_from, "test_from": self.test_from}

    @classmethod
    def from_json(cls, value: Any) -> Split:
        """Read what `as_json` gave.

        Raises
        ------
        ValueError : it is something else.
        """
        stated = isinstance(value, dict) and set(value) == {"dev_from", "test_from"}
        cuts = [value["dev_from"], value["test_from"]] if stated else [None, 0]
        if not (cuts == [None, None] or all(type(cut) is int for cut in cuts)):
            raise ValueError(f"no split: {value}")
        return cls(*cuts)

    def period(self) -> Column:
        """0 for an interaction before dev_from, 1 from then and 2 from test_from on; 0 for leave-one-out (of ts)."""
        if self.dev_from is None:
            return F.lit(0)
        time = F.unix_micros("ts")
        return F.when(time < F.lit(self.dev_from), 0).when(time < F.lit(self.test_from), 1).otherwise(2)

    def ends(self, rows: DataFrame) -> DataFrame:
        """Complete rows (…, item_indices, train_end, test_start): leave-one-out counts from the history's end."""
        if self.dev_from is not None:
            return rows
        length = F.size("item_indices")
        held_out = F.when(length >= SHORTEST_EVALUATED, 1).otherwise(0)
        return rows.withColumn("train_end", length - 2 * held_out).withColumn("test_start", length - held_out)


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
