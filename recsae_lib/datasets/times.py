"""Numbers that were read as Unix times, and are dates of another form: 20200913, or the days of a spreadsheet."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

log = logging.getLogger("recsae")

SECOND, DAY = 1_000_000, 86_400  # microseconds, seconds
DOUBTFUL = 220_838_400 * SECOND  # 1977: nobody who logs interactions has times before it


@dataclass(frozen=True)
class DateForm:
    """A way to write dates as numbers, of which Unix time holds a few hours or months of 1970 and 1976.

    Parameters
    ----------
    name : for the log.
    unit : microseconds that one of the number was taken for.
    low, high : numbers from 1970 to 2100.
    digits : of a number that is a date written in digits; 0 where it counts days.
    """

    name: str
    unit: int
    low: int
    high: int
    digits: int

    def times(self) -> Column:
        """TIMESTAMP of ``micros`` (µs since 1970, as the number was read); null where it is none of this form."""
        micros = F.col("micros")
        inside = micros.between(self.low * self.unit, (self.high + 1) * self.unit - 1)
        if not self.digits:
            seconds = F.round((micros - self.low * self.unit) * DAY / self.unit).cast("long")
            return F.when(inside, F.timestamp_seconds(seconds))
        digits = (micros / self.unit).cast("long").cast("string")
        whole = F.concat(digits, F.lit("000001010000"[self.digits :]))
        parts = [whole.substr(start, length) for start, length in ((1, 4), (5, 2), (7, 2), (9, 2), (11, 2))]
        iso = F.format_string("%s-%s-%sT%s:%s:00Z", *parts)
        return F.when(inside & (micros % self.unit == 0), F.try_to_timestamp(iso))


FORMS = (
    DateForm("years", SECOND, 1970, 2100, 4),
    DateForm("months written yyyymm", SECOND, 197001, 210012, 6),
    DateForm("dates written yyyymmdd", SECOND, 19700101, 21001231, 8),
    DateForm("times written yyyymmddhhmm", SECOND // 1000, 197001010000, 210012312359, 12),
    DateForm("days of a spreadsheet, counted from 1899-12-30", SECOND, 25569, 73415, 0),
)


def is_doubtful(last: int) -> bool:
    """Whether times that end so many microseconds after 1970 are hardly what they were read as; 0 stands for none."""
    return 0 < last < DOUBTFUL


def read_dates(interactions: DataFrame) -> DataFrame:
    """Replace ts where all times are numbers of one of `FORMS`; the order of the rows in time stays as it is.

    Parameters
    ----------
    interactions : (… ts TIMESTAMP …), accepted.
    """
    timed = interactions.withColumn("micros", F.unix_micros("ts"))
    counts = timed.agg(
        F.count("micros").alias("rows"),
        F.max("micros").alias("last"),
        *[F.count(form.times()).alias(f"form_{n}") for n, form in enumerate(FORMS)],
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    if not counts["rows"] or not is_doubtful(counts["last"]):
        return interactions
    for n, form in enumerate(FORMS):
        if counts[f"form_{n}"] == counts["rows"]:
            log.warning("the times are read as %s", form.name)
            return timed.withColumn("ts", form.times()).drop("micros")
    return interactions
