"""Latents whose top items stand next to each other in a list: of titles, of ids, or of first interactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.stats import binom, false_discovery_control, hypergeom

from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.spark.frames import free, keep

TOP_ITEMS = 20  # of a latent, by evidence: those that are looked at
SIGNIFICANCE = 0.05  # q-value over the latents
CLOSE_SHARE = 0.1  # of the mean gap between the titles of a latent: pairs that are nearer are close
LONGEST_DISTANCE = 50  # places between two items whose pair says how densely a latent sits in a part of the list
SHORTEST_RUN = 4  # items without a gap that make a run in the order of ids or times
_PARTITION_BITS = 33  # below them, `monotonically_increasing_id` counts the rows of a partition
# A title begins with its first word, which articles are not; "Beach, The" does already.
_ARTICLES = r"^(?:the|an?)\s+(?=\S)"
_NO_WORD = r"^[^\p{L}\p{N}]+"
_WORD = r"^([\p{L}\p{M}\p{N}]+)"
_RESULT = "latent_id int, artefact string, artefact_p_value double"


def item_artefacts(latent_items: DataFrame, items: DataFrame, interactions: DataFrame) -> DataFrame:
    """Mark latents that are about a part of a list rather than a taste (METHOD.md section 7; ours).

    People who rate what a page lists leave histories that follow the list, and a latent can learn that. The places of
    the top `TOP_ITEMS` items of a latent among all linked items, in each of three orders, are held against those of as
    many items drawn from them: `titles_p_value` for titles, `runs_p_value` for ids and first interactions. The
    smallest of the three counts three times (Bonferroni), and Benjamini-Hochberg goes over all latents.

    The linked items, at most latents × items_per_latent, are sorted by Spark. Only the places of the top items come to
    the driver, 3 × `TOP_ITEMS` numbers a latent.

    Parameters
    ----------
    latent_items : (latent_id INT, item_id, rank INT).
    items : (item_id, title).
    interactions : (item_id, ts).

    Returns
    -------
    DataFrame : (latent_id INT, artefact STRING, artefact_p_value DOUBLE), one row a latent with items; artefact is
        ``title``, ``id`` or ``time``, or null; the p-value is that before Benjamini-Hochberg.
    """
    top = latent_items.where(F.col("rank") <= TOP_ITEMS).select("latent_id", "item_id")
    tests: dict[str, Callable[[np.ndarray, int], float]] = {
        "title": titles_p_value,
        "id": runs_p_value,
        "time": runs_p_value,
    }
    linked = latent_items.select("item_id").distinct()
    orders: dict[str, Callable[[], _Ordered]] = {
        "title": lambda: _title_places(linked, items),
        "id": lambda: _places(linked, [F.col("number").isNull(), "number", "item_id"], number=_number("item_id")),
        "time": lambda: _time_places(linked, interactions),
    }

    def tested(order: str) -> dict[int, float]:
        ordered = orders[order]()
        placed = top.join(ordered.rows, "item_id").groupBy("latent_id").agg(F.collect_list("place").alias("places"))
        found = placed.collect()  # `TOP_ITEMS` numbers a latent
        free(ordered.kept)
        return {row["latent_id"]: tests[order](np.array(row["places"]), ordered.number) for row in found}

    latents: pd.DataFrame = top.select("latent_id").distinct().toPandas()  # M rows
    p_values = pd.DataFrame(1.0, index=np.sort(latents["latent_id"]), columns=list(tests))
    for order, found in zip(tests, side_by_side(tested, tests), strict=True):
        for latent, p_value in found.items():
            p_values.loc[latent, order] = p_value
    return latent_items.sparkSession.createDataFrame(marked(p_values), _RESULT)


def marked(p_values: pd.DataFrame) -> pd.DataFrame:
    """Name the order of each latent whose smallest p-value stands up to all tests that were made.

    Parameters
    ----------
    p_values : one row a latent (the index), one column an order.

    Returns
    -------
    DataFrame : (latent_id, artefact, artefact_p_value); artefact is None where no order is marked.
    """
    if p_values.empty:
        return pd.DataFrame(columns=["latent_id", "artefact", "artefact_p_value"])
    best = np.minimum(p_values.min(axis=1).to_numpy() * p_values.shape[1], 1.0)
    found = false_discovery_control(best, method="bh") < SIGNIFICANCE
    names = [order if marks else None for order, marks in zip(p_values.idxmin(axis=1), found, strict=True)]
    return pd.DataFrame({"latent_id": p_values.index, "artefact": names, "artefact_p_value": best})


def titles_p_value(places: np.ndarray, number: int) -> float:
    """Chance that titles drawn from a list lie as close together.

    ::

        of m places among n:  d = max(1, ⌊n / 10 m⌋)    K = neighbours at most d apart, of m − 1
        q = 1 − binom(n − d, m) / binom(n, m)            p = P(Binomial(m − 1, q) ≥ K)

    q is the exact chance of one gap. Gaps of one list take room from each other, so that the binomial tail is no less
    than the true one.

    Parameters
    ----------
    places : of the titles of a latent; the same place twice (titles that begin alike) counts once.
    number : n, places in all.
    """
    gaps = np.diff(np.unique(places))
    taken = len(gaps) + 1
    if not len(gaps) or number <= taken:
        return 1.0
    distance = max(1, int(CLOSE_SHARE * number / taken))
    apart = float(hypergeom.pmf(0, number, distance, taken))  # no title within the next `distance` places
    return float(binom.sf((gaps <= distance).sum() - 1, len(gaps), 1.0 - apart))


def runs_p_value(places: np.ndarray, number: int) -> float:
    """Chance that items which crowd as these do stand next to each other as often; 1 without a run of `SHORTEST_RUN`.

    ::

        P_d = pairs of places d apart      N = pairs at most D = min(50, n − 1) apart = Σ_{d ≤ D} P_d
        p   = P(Binomial(N, (n − 1) / Σ_{d ≤ D} (n − d)) ≥ P_1)

    Ids and first interactions often follow the release, and films of one decade are a concept, not an artefact: they
    crowd in a part of the list, but leave gaps there. So what counts is not that they crowd, but that of the pairs
    that are near more are next to each other than a crowd as dense has.

    Parameters
    ----------
    places : of the items of a latent, each once.
    number : n, places in all.
    """
    ordered = np.sort(places)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    if max(map(len, runs)) < SHORTEST_RUN or number <= SHORTEST_RUN:
        return 1.0
    furthest = min(LONGEST_DISTANCE, number - 1)
    distances = np.abs(ordered[:, None] - ordered)[np.triu_indices(len(ordered), 1)]
    share = (number - 1) / (number - np.arange(1, furthest + 1)).sum()
    return float(binom.sf((distances == 1).sum() - 1, (distances <= furthest).sum(), share))


@dataclass(frozen=True)
class _Ordered:
    """Rows with a column ``place``, from 0 to `number` - 1, and what of them lies on the executors (`free`)."""

    rows: DataFrame
    number: int
    kept: DataFrame


def _title_places(linked: DataFrame, items: DataFrame) -> _Ordered:
    """Place of each item's first word among all first words, so that a series of films has one place."""
    title = F.regexp_replace(F.lower("title"), _NO_WORD, "")
    word = F.regexp_extract(F.regexp_replace(title, _ARTICLES, ""), _WORD, 1)
    titled = linked.join(items.select("item_id", word.alias("word")), "item_id").where("word <> ''")
    words = _places(titled.select("word").distinct(), ["word"])
    return replace(words, rows=titled.join(words.rows, "word").select("item_id", "place"))


def _time_places(linked: DataFrame, interactions: DataFrame) -> _Ordered:
    """Place of each item by its first interaction; what began at once is in no order, which a hash gives."""
    begun = interactions.groupBy("item_id").agg(F.min("ts").alias("begun"))
    return _places(linked.join(begun, "item_id"), ["begun", "hashed"], hashed=F.xxhash64("item_id"))


def _number(name: str) -> Column:
    return F.when(F.col(name).rlike(r"^[0-9]{1,18}$"), F.col(name).cast("long"))


def _places(rows: DataFrame, by: list[str | Column], **keys: Column) -> _Ordered:
    """Number rows from 0 in an order, sorted in parts that lie next to each other; and how many there are."""
    row = F.monotonically_increasing_id()
    part, within = F.shiftright(row, _PARTITION_BITS).cast("int"), row.bitwiseAND((1 << _PARTITION_BITS) - 1)
    # Sorted once: the bounds of the parts are drawn, and the next sort may draw others.
    drawn_up = rows.withColumns(keys).sort(*by).select(*rows.columns, part.alias("part"), within.alias("within"))
    drawn_up = keep(drawn_up)
    counts = sorted(map(tuple, drawn_up.groupBy("part").count().collect()))  # one row a part
    starts = np.cumsum([0, *(count for _, count in counts)]).tolist()
    offsets = [(part, start) for (part, _), start in zip(counts, starts[:-1], strict=True)]
    of_parts = drawn_up.sparkSession.createDataFrame(offsets, "part int, start long")
    placed = drawn_up.join(F.broadcast(of_parts), "part")
    placed = placed.select(*rows.columns, (F.col("start") + F.col("within")).alias("place"))
    return _Ordered(placed, starts[-1], drawn_up)
