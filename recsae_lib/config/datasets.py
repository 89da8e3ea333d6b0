"""Settings of the raw data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recsae_lib.config.section import PositiveInt, Section

OneCharacter = Annotated[str, Field(min_length=1, max_length=1, pattern=r"[^\r\n\x00]")]
Repeats = Literal["reject", "last", "sum"]


class ColumnMapping(Section):
    user_id: str = Field("user_id", description="Column that holds the user id.")
    item_id: str = Field("item_id", description="Column that holds the item id.")
    weight: str | None = Field(None, description="Column that holds the weight (a rating, a count); 1.0 where unset.")
    ts: str | None = Field(
        "ts",
        description="Column that holds the time: a timestamp, ISO 8601 text, or Unix time in s, ms, µs or ns, known by "
        "its size. Where unset, a user's items are in the order of the lines, or drawn by hash where there are none.",
    )
    title: str | None = Field("title", description="Column of the item table that holds the title.")
    text: str | None = Field(None, description="Column of the item table that holds free text; the title where unset.")
    features: str | None = Field(
        "features", description="Column of the item table that holds the item features: an array, or text to split."
    )
    released: str | None = Field(
        None,
        description="Column of the item table that holds a year, a date or a time of release (parquet, csv, table, "
        "recbole); where unset, a year in brackets at the end of the title. See dataset.derived.",
    )
    attributes: tuple[str, ...] = Field(
        (),
        description="Columns of the item table whose values become derived features such as `city: Phoenix` (parquet, "
        "csv, table, recbole): text, numbers, dates, or arrays of these.",
    )


class DerivedFeatureSettings(Section):
    release_period: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Derived features such as `released: 1980s`: auto where at least half of the items have a year.",
    )
    popularity_tier: bool = Field(
        True,
        description="Derived features `popularity: highest`, high, low and lowest: each a quarter of the interactions "
        "that recommender.split leaves for training.",
    )
    attributes: bool = Field(
        True,
        description="Derived features of what items have beside genres and tags: dataset.columns.attributes; of Yelp "
        "city, state and price range; of Amazon brand, price band and category path.",
    )


class CsvSettings(Section):
    separator: OneCharacter = Field(",", description="What separates two fields: one character, \\t for a tab.")
    quote: OneCharacter | None = Field(
        '"',
        description="What a field may be quoted by, which then may hold separators and line breaks. Null where a quote "
        "mark is a letter like others.",
    )
    escape: OneCharacter | None = Field(
        None,
        description="What stands before a quote within quotes: a backslash in what Spark and MySQL write. Null where "
        "such a quote is doubled (RFC 4180, pandas, Excel).",
    )
    encoding: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]*$")] = Field(
        "UTF-8",
        description="Encoding as Java names it: UTF-8, UTF-16, ISO-8859-1, windows-1252, Shift_JIS, … Files that begin "
        "with a byte order mark of UTF-16 are read as such.",
    )

    @field_validator("separator", "quote", "escape", mode="before")
    @classmethod
    def _tab(cls, given: object) -> object:
        return "\t" if given == r"\t" else given

    @model_validator(mode="after")
    def _different(self) -> CsvSettings:
        if self.separator in (self.quote, self.escape):
            raise ValueError("separator must differ from quote and escape")
        return self


class FilterSettings(Section):
    minimum_weight: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="Keep interactions of at least this weight (4 of 5 stars, say, is what counts as positive)."
    )
    latest: PositiveInt | None = Field(
        None, description="Then keep so many interactions of each user, the latest by ts, source_order and item_id."
    )
    core: PositiveInt = Field(
        1,
        description="Then keep the k-core: every user has at least k different items left, every item k different "
        "users. Items without any interaction left leave the catalogue too, if this is above 1.",
    )


class DatasetSettings(Section):
    format: Literal[
        "movielens_100k_embedded",
        "movielens_100k",
        "movielens_1m",
        "movielens_10m",
        "movielens_csv",
        "lastfm_2k",
        "amazon_2014",
        "amazon_2018",
        "amazon_2023",
        "yelp",
        "recbole",
        "parquet",
        "csv",
        "table",
    ] = Field(
        "movielens_100k_embedded",
        description="Raw format: MovieLens-100K out of the recbole package, a release of MovieLens, Last.fm, Amazon or "
        "Yelp (`recsae datasets` lists them), RecBole atomic files, or your own Parquet, CSV or Spark tables.",
    )
    path: str | None = Field(
        None, description="Folder of the raw files; not read by movielens_100k_embedded, parquet, csv and table."
    )
    interactions: str | None = Field(
        None, description="File, folder or Spark table of interactions (parquet, csv and table formats)."
    )
    items: str | None = Field(None, description="File, folder or Spark table of items (parquet, csv, table formats).")
    columns: ColumnMapping = Field(
        default_factory=ColumnMapping, description="Names of your columns (parquet, csv, table)."
    )
    derived: DerivedFeatureSettings = Field(
        default_factory=DerivedFeatureSettings,
        description="Item features that are derived (column derived_features of items): terms of a kind of their own.",
    )
    csv: CsvSettings = Field(default_factory=CsvSettings, description="How your CSV files are written (csv).")
    feature_separator: Annotated[str, Field(min_length=1, max_length=3)] | None = Field(
        None,
        description="What separates item features where a column holds them as one text (csv, parquet, table); where "
        "unset, the first of | ; , that any item has. A JSON list is read as one.",
    )
    repeats: Repeats = Field(
        "reject",
        description="Further interactions of a user with an item at the same time: reject them; or, as in a log of "
        "plays, keep the last one alone, or with the sum of the weights (csv, parquet, table, recbole).",
    )
    filters: FilterSettings = Field(
        default_factory=FilterSettings, description="Which of the interactions are kept, in this order."
    )

    @model_validator(mode="after")
    def _sources_named(self) -> DatasetSettings:
        if self.format in ("parquet", "csv", "table") and not (self.interactions and self.items):
            raise ValueError(f"format {self.format} needs dataset.interactions and dataset.items")
        if self.format not in ("movielens_100k_embedded", "parquet", "csv", "table") and not self.path:
            raise ValueError(f"format {self.format} needs dataset.path, the folder of the raw files")
        return self
