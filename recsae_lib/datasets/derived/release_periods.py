"""When an item was released, as a feature: a decade, or two years of one that has many items (METHOD.md section 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pyspark.sql import Column
from pyspark.sql import functions as F

EARLIEST_YEAR = 1850
DATED_SHARE = 0.5  # of the items have a year: then periods say something of the catalogue
CROWDED_SHARE = 0.1  # of the dated items lie in one decade: then it is cut into spans
_YEAR_AT_END = r"\((\d{4})(?:[-–—]\d{0,4})?\)\s*\z"

When = Literal["auto", "always", "never"]


def release_year(this_year: int) -> Column:
    """Year of an item (title, released), INT: what the source says, else the year in brackets at the end of the title.

    Parameters
    ----------
    this_year : no item is released later than in the year after it; what is before 1850 is no year of release either.
    """
    digits = F.regexp_extract("title", _YEAR_AT_END, 1)
    of_title = F.when(digits != "", digits).cast("int")
    plausible = [F.when(year.between(EARLIEST_YEAR, this_year + 1), year) for year in (F.col("released"), of_title)]
    return F.coalesce(*plausible)


def release_period(year: Column, items_by_year: Mapping[int | None, int], when: When) -> Column:
    """Text of the period that a year lies in; null where there is no year, or periods are not wanted.

    ::

        released: 1980s         the decade
        released: 1996-1997     two years from an even one on, where the decade has more than a tenth of the dated items

    Parameters
    ----------
    year : INT.
    items_by_year : year → number of items of the catalogue; None → those without one.
    when : auto: where at least half of the items have a year.
    """
    by_decade: Counter[int] = Counter()
    for known, items in items_by_year.items():
        if known is not None:
            by_decade[known // 10] += items
    dated, every = by_decade.total(), sum(items_by_year.values())
    if when == "never" or not dated or (when == "auto" and dated < DATED_SHARE * every):
        return F.lit(None).cast("string")
    crowded = [decade for decade, items in by_decade.items() if items > CROWDED_SHARE * dated]
    decade, even = F.floor(year / 10).cast("int"), year - year % 2
    of_decade = F.concat((decade * 10).cast("string"), F.lit("s"))
    of_two_years = F.concat(even.cast("string"), F.lit("-"), (even + 1).cast("string"))
    return F.concat(F.lit("released: "), F.when(decade.isin(crowded), of_two_years).otherwise(of_decade))
