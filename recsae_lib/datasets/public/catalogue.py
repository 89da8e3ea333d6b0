"""The public data sets whose raw formats are read: what they are called, how large they are, where they come from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from recsae_lib.errors import InputError

GROUPLENS = "https://files.grouplens.org/datasets"
OF_MOVIELENS = "research with acknowledgement; commercial use by permission of GroupLens only"
OF_AMAZON = "no licence stated: published for research, the authors ask to be cited"


@dataclass(frozen=True)
class PublicDataset:
    """One release.

    Parameters
    ----------
    name : what `recsae datasets --fetch` calls it; also the folder it is put into.
    title : its official name.
    format : value of dataset.format.
    size : users, items and interactions as the publisher states them.
    page : official address of the page.
    licence : what may be done with it, in one line; the page has the terms.
    archive : official address of the zip; None where it cannot simply be downloaded.
    obtain : how else to come by it.
    """

    name: str
    title: str
    format: str
    size: str
    page: str
    licence: str
    archive: str | None = None
    obtain: str = ""


def _movielens(name: str, title: str, format_: str, counts: tuple[int, int, int], page: str) -> PublicDataset:
    return PublicDataset(
        name,
        title,
        format_,
        "{:,} users, {:,} items, {:,} interactions".format(*counts),
        f"https://grouplens.org/datasets/movielens/{page}/",
        OF_MOVIELENS,
        f"{GROUPLENS}/movielens/{name}.zip",
    )


CATALOGUE = (
    _movielens("ml-100k", "MovieLens 100K", "movielens_100k", (943, 1_682, 100_000), "100k"),
    _movielens("ml-1m", "MovieLens 1M", "movielens_1m", (6_040, 3_883, 1_000_209), "1m"),
    _movielens("ml-10m", "MovieLens 10M", "movielens_10m", (71_567, 10_681, 10_000_054), "10m"),
    _movielens("ml-20m", "MovieLens 20M", "movielens_csv", (138_493, 27_278, 20_000_263), "20m"),
    _movielens("ml-25m", "MovieLens 25M", "movielens_csv", (162_541, 62_423, 25_000_095), "25m"),
    _movielens("ml-32m", "MovieLens 32M", "movielens_csv", (200_948, 87_585, 32_000_204), "32m"),
    _movielens(
        "ml-latest-small",
        "MovieLens Latest Small (of September 2018; it may change)",
        "movielens_csv",
        (610, 9_742, 100_836),
        "latest",
    ),
    PublicDataset(
        "hetrec2011-lastfm-2k",
        "Last.fm of HetRec 2011",
        "lastfm_2k",
        "1,892 users, 17,632 items, 92,834 interactions",
        "https://grouplens.org/datasets/hetrec-2011/",
        "non-commercial use; for anything else ask Last.fm",
        f"{GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
    ),
    PublicDataset(
        "amazon-2014",
        "Amazon product data, May 1996 to July 2014",
        "amazon_2014",
        "9.4 million items, 142.8 million interactions",
        "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html",
        OF_AMAZON,
        obtain="take reviews_<Category>.json.gz (or …_5.json.gz) and meta_<Category>.json.gz from the page",
    ),
    PublicDataset(
        "amazon-2018",
        "Amazon review data, May 1996 to October 2018",
        "amazon_2018",
        "15.5 million items, 233.1 million interactions",
        "https://nijianmo.github.io/amazon/index.html",
        OF_AMAZON,
        obtain="fill in the form on the page, then take <Category>.json.gz (or …_5) and meta_<Category>.json.gz",
    ),
    PublicDataset(
        "amazon-2023",
        "Amazon Reviews 2023, May 1996 to September 2023",
        "amazon_2023",
        "54.51 million users, 48.19 million items, 571.54 million interactions",
        "https://amazon-reviews-2023.github.io/",
        OF_AMAZON,
        obtain="take <Category>.jsonl.gz and meta_<Category>.jsonl.gz from the page",
    ),
    PublicDataset(
        "yelp",
        "Yelp Open Dataset",
        "yelp",
        "1,987,897 users, 150,346 items, 6,990,280 interactions",
        "https://business.yelp.com/data/resources/open-dataset/",
        "academic use under the terms that Yelp asks to accept",
        obtain="accept the terms on the page, then unpack the JSON archive",
    ),
)


def find_dataset(name: str) -> PublicDataset:
    """Return the data set of a name.

    Raises
    ------
    InputError : there is none; the nearest name is given.
    """
    names = [dataset.name for dataset in CATALOGUE]
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise InputError(f"There is no data set {name!r} (the nearest is {nearest})", "`recsae datasets` lists them")
    return CATALOGUE[names.index(name)]


def description_of(dataset: PublicDataset) -> str:
    """Three lines for a person: what it is and how to get it."""
    way = f"recsae datasets --fetch {dataset.name} --to FOLDER" if dataset.archive else dataset.obtain
    return (
        f"{dataset.title}: {dataset.size}\n"
        f"    dataset.format={dataset.format}    {way}\n"
        f"    {dataset.page}    {dataset.licence}"
    )
