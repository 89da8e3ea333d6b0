"""Typed settings: conf/base.yaml ← --conf file ← --set a.b=c, every key known, every value bounded.

Each class is one section of the YAML file. The description of a field is what ``recsae config --help-settings`` prints.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from datetime import date, datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from recsae_lib.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Judge = Literal["terms", "llm"]
Scope = Literal["data", "model", "audit"]  # of a table: all models on the same data, all sites of a model, one audit
DEFAULT_SITE = "last"  # the vector just before the item scores: every model has it
PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A group of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(Section):
    var: str = Field("var", description="Folder under which every local file of a run is written.")
    bulk: str = Field("var/bulk", description="Folder of the bulk Parquet files that Petastorm reads.")
    tracking_uri: str = Field(
        "sqlite:///var/mlflow/mlflow.db", description="MLflow tracking and registry address (any that MLflow takes)."
    )
    artifacts: str = Field("var/mlflow/artifacts", description="Where MLflow keeps the artifacts of new experiments.")


class SparkSettings(Section):
    properties: str = Field(
        "conf/spark/local.conf",
        description="Spark properties file (master, memory, catalogs) of `recsae run`; spark-submit brings its own.",
    )


class ColumnMapping(Section):
    user_id: str = Field("user_id", description="Column that holds the user id.")
    item_id: str = Field("item_id", description="Column that holds the item id.")
    weight: str | None = Field(None, description="Column that holds the weight (a rating, a count); 1.0 where unset.")
    ts: str | None = Field(
        "ts",
        description="Column that holds the time: a timestamp, ISO 8601 text, or Unix time in s, ms, µs or ns, told by "
        "its size. Where unset, a user's items are in the order of the lines, or of item_id where there are none.",
    )
    title: str | None = Field("title", description="Column of the item table that holds the title.")
    text: str | None = Field(None, description="Column of the item table that holds free text; the title where unset.")
    features: str | None = Field(
        "features", description="Column of the item table that holds the item features: an array, or text to split."
    )


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
    feature_separator: Annotated[str, Field(min_length=1, max_length=3)] = Field(
        "|", description="What separates item features where a column holds them as one text (csv, parquet, table)."
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


class SasrecSettings(Section):
    layers: Annotated[int, Field(ge=1, le=12)] = Field(1, description="Transformer blocks.")
    heads: Annotated[int, Field(ge=1, le=16)] = Field(1, description="Attention heads a block.")
    history_length: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Latest interactions that are read.")
    inner_dimension: PositiveInt = Field(64, description="Width of the feed-forward layer.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.5, description="Dropout while training.")
    loss: Literal["cross_entropy", "sampled_softmax", "bpr"] = Field(
        "cross_entropy",
        description="Full softmax over the catalogue, its estimate from some candidates, or BPR with one negative.",
    )
    candidates: PositiveInt = Field(
        1024, description="Items that stand for the catalogue in a step, loss sampled_softmax."
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Weight decay.")
    predicted: PositiveInt = Field(
        5, description="Interactions that a training window predicts: its last ones; the others are only read."
    )
    batch_size: PositiveInt = Field(512, description="Training windows a step, of `predicted` predictions each.")
    epochs: PositiveInt = Field(200, description="Largest number of passes over the training interactions.")
    patience: PositiveInt = Field(15, description="Evaluations without a better dev NDCG before training stops.")


class BprMfSettings(Section):
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(1e-6, description="λ: weight of the squared norms in the loss.")
    batch_size: PositiveInt = Field(2048, description="Interactions a step.")
    epochs: PositiveInt = Field(200, description="Largest number of passes over the training interactions.")
    patience: PositiveInt = Field(25, description="Evaluations without a better dev NDCG before training stops.")


class LightgcnSettings(Section):
    layers: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Steps of propagation on the graph.")
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(5e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(1e-4, description="λ: weight of the squared norms in the loss.")
    batch_size: PositiveInt = Field(2048, description="Interactions a step; each step propagates over the whole graph.")
    epochs: PositiveInt = Field(200, description="Largest number of passes over the training interactions.")
    patience: PositiveInt = Field(25, description="Evaluations without a better dev NDCG before training stops.")


class TimirecSettings(Section):
    interests: Annotated[int, Field(ge=1, le=64)] = Field(6, description="K: interests of a user.")
    attention_size: PositiveInt = Field(8, description="Width of the attention that forms the interests.")
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = Field(
        1.0, description="τ: temperature of both distributions over interests."
    )
    history_length: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Latest interactions that are read.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.5, description="Dropout on items while training.")
    loss: Literal["cross_entropy", "sampled_softmax", "bpr"] = Field(
        "cross_entropy",
        description="Full softmax over the catalogue, its estimate from some candidates, or BPR with one negative.",
    )
    candidates: PositiveInt = Field(
        1024, description="Items that stand for the catalogue in a step, loss sampled_softmax."
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Weight decay.")
    predicted: PositiveInt = Field(
        5, description="Interactions that a training window predicts: its last ones; the others are only read."
    )
    batch_size: PositiveInt = Field(512, description="Training windows a step, of `predicted` predictions each.")
    epochs: PositiveInt = Field(200, description="Largest number of passes in each of the two phases.")
    patience: PositiveInt = Field(10, description="Evaluations without a better dev NDCG before a phase stops.")


class ModuleSettings(Section):
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = Field(
        None,
        description="package.module:function that builds your torch module; the code must be importable on the driver "
        "and on the executors, and is imported only if it is named here.",
    )
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="What the function is called with.")
    weights: str | None = Field(
        None, description="Weights of the module, a .safetensors file; what the function builds where unset."
    )
    items: str | None = Field(
        None,
        description="Parquet of (item_id, item_index), the row of each item in your module; the ingested items by "
        "rising id, from row 0, where unset.",
    )
    users: str | None = Field(
        None, description="Parquet of (user_id, user_index), for a module that looks users up; unset for any other."
    )
    history_length: Annotated[int, Field(ge=1, le=1000)] = Field(
        50, description="T: latest interactions that are read; every batch is padded to it."
    )
    padding: Literal["left", "right"] = Field("right", description="Side of the padding of shorter histories.")
    padding_index: Annotated[int, Field(ge=0)] = Field(0, description="Row that stands for padding.")
    scorer: Literal["dot", "module"] = Field(
        "dot", description="Items are scored by the dot product with item_embeddings, or by the module's method score."
    )
    item_embeddings: str | None = Field(
        None,
        description="Name of the parameter or buffer with the item vectors, (rows, d), e.g. items.weight; needed by "
        "scorer dot, and for coherence by item embedding.",
    )

    @property
    def call(self) -> str:
        """The function with its arguments, as one text."""
        return f"{self.factory}(**{json.dumps(self.arguments, sort_keys=True)})"


class ExternalSettings(Section):
    representations: str | None = Field(
        None, description="Your representations: Parquet or Spark table of (user_id, representation)."
    )
    item_embeddings: str | None = Field(
        None, description="Your item vectors: Parquet or Spark table of (item_id, embedding); score = x · embedding."
    )
    recommendations: str | None = Field(
        None,
        description="Your recommendations, best first: Parquet or Spark table of (user_id, item_ids[, scores]); needed "
        "where there are no item vectors, and not read where there are.",
    )


class SplitSettings(Section):
    by: Literal["leave_one_out", "time"] = Field(
        "leave_one_out",
        description="What is held out of training: of each user the last interaction (test) and the one before (dev); "
        "or all from dev_from on, where each user's first interaction from dev_from and from test_from is ranked.",
    )
    dev_from: datetime | None = Field(
        None, description="Start of the dev period (UTC), split by time; after 80 % of the interactions where unset."
    )
    test_from: datetime | None = Field(
        None, description="Start of the test period (UTC), split by time; after 90 % of the interactions where unset."
    )

    @field_validator("dev_from", "test_from")
    @classmethod
    def _zoned(cls, time: datetime | None) -> datetime | None:
        return time.replace(tzinfo=timezone.utc) if time is not None and time.tzinfo is None else time

    @model_validator(mode="after")
    def _in_order(self) -> SplitSettings:
        if self.dev_from and self.test_from and self.dev_from >= self.test_from:
            raise ValueError("split.dev_from must lie before split.test_from")
        if (self.dev_from is None) != (self.test_from is None):
            raise ValueError("split.dev_from and split.test_from are set together, or neither is")
        return self


class RecommenderSettings(Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")] | None = Field(
        None,
        description="Name of this model where several are audited on the same data (retrieval, ranking): its tables "
        "then live in the namespace <namespace>__<name>, and only interactions, items and rejects are shared.",
    )
    kind: Literal["sasrec", "bpr_mf", "lightgcn", "timirec", "module", "external"] = Field(
        "sasrec",
        description="Family of the recommender; module is a trained torch module of your own, external are "
        "representations of your own.",
    )
    preset: Literal["default", "reference"] = Field(
        "default",
        description="Where the settings of the family come from that --conf and --set leave open: ours, or those of "
        "RecSAE's authors (bpr loss, batch 256, learning rate 1e-3 or 1e-4, patience 10, NDCG@5).",
    )
    version: Literal["candidate", "latest"] | PositiveInt = Field(
        "candidate",
        description="Version of the registered recommender to read: candidate (what train_recommender made last), "
        "latest, or a number; resolved once, when the job starts.",
    )
    dimension: Annotated[int, Field(ge=2, le=4096)] = Field(64, description="d: width of a representation.")
    sasrec: SasrecSettings = Field(default_factory=SasrecSettings, description="Settings of kind sasrec.")
    bpr_mf: BprMfSettings = Field(default_factory=BprMfSettings, description="Settings of kind bpr_mf.")
    lightgcn: LightgcnSettings = Field(default_factory=LightgcnSettings, description="Settings of kind lightgcn.")
    timirec: TimirecSettings = Field(default_factory=TimirecSettings, description="Settings of kind timirec.")
    module: ModuleSettings = Field(default_factory=ModuleSettings, description="Settings of kind module.")
    external: ExternalSettings = Field(default_factory=ExternalSettings, description="Settings of kind external.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="What is held out of training.")
    selection_cutoff: PositiveInt = Field(
        10, description="Cut-off of the dev NDCG that selects the epoch (10), e.g. NDCG@10."
    )
    evaluation_users: PositiveInt = Field(
        100_000, description="At most so many users, drawn by the seed, in each evaluation pass."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> RecommenderSettings:
        if self.kind == "sasrec" and self.dimension % self.sasrec.heads:
            raise ValueError(f"sasrec.heads ({self.sasrec.heads}) must divide dimension ({self.dimension})")
        return self

    @model_validator(mode="after")
    def _own_model_named(self) -> RecommenderSettings:
        module, external = self.module, self.external
        if self.kind == "module" and module.factory is None:
            raise ValueError("kind module needs module.factory, e.g. my_package.ranker:build")
        if self.kind == "module" and module.scorer == "dot" and module.item_embeddings is None:
            raise ValueError("module.scorer dot needs module.item_embeddings, e.g. items.weight")
        if self.kind == "external" and external.representations is None:
            raise ValueError("kind external needs external.representations")
        if self.kind == "external" and external.item_embeddings is None and external.recommendations is None:
            raise ValueError("kind external needs external.item_embeddings or external.recommendations")
        return self

    @property
    def factory(self) -> str | None:
        """The only call that a registered model may name for its code to be imported and run."""
        return self.module.call if self.kind == "module" else None


# What RecSAE's authors train with (method.md section 1): layers of settings between conf/base.yaml and --conf.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "reference": {
        "dimension": 64,
        "selection_cutoff": 5,
        "bpr_mf": {"learning_rate": 1e-3, "l2": 1e-6, "batch_size": 256, "epochs": 200, "patience": 10},
        "lightgcn": {"layers": 3, "learning_rate": 1e-3, "l2": 1e-8, "batch_size": 256, "epochs": 200, "patience": 10},
        "sasrec": {
            "layers": 1,
            "heads": 1,
            "history_length": 20,
            "loss": "bpr",
            "learning_rate": 1e-4,
            "l2": 1e-6,
            "batch_size": 256,
            "epochs": 200,
            "patience": 10,
        },
        "timirec": {
            "interests": 6,
            "attention_size": 8,
            "temperature": 1.0,
            "history_length": 20,
            "loss": "bpr",
            "learning_rate": 1e-4,
            "l2": 1e-6,
            "batch_size": 256,
            "epochs": 200,
            "patience": 10,
        },
    },
}


class RepresentationSettings(Section):
    sites: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], ...], Field(min_length=1)
    ] = Field(
        (DEFAULT_SITE,),
        description="Probing sites, each audited by itself: last, the vector just before the item scores, or names "
        "of submodules of the model, e.g. blocks.0 (`recsae sites` lists them).",
    )
    training_positions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="Sampled positions a user in the training rows of a sequential recommender."
    )
    row_group_mib: Annotated[float, Field(gt=0.0, le=512.0)] = Field(
        16.0, description="Size that a Parquet row group should have."
    )
    minimum_row_groups: PositiveInt = Field(
        4, description="Row groups that the training rows have at least (one a training process or more)."
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(1024, description="Users a forward pass.")
    fidelity_users: PositiveInt = Field(
        10_000, description="Users, drawn by hash, whose held-out item measures what reconstruction keeps."
    )

    @model_validator(mode="after")
    def _sites_apart(self) -> RepresentationSettings:
        slugs = [_slug(site) for site in self.sites]
        if len(set(slugs)) < len(slugs) or not all(slugs):
            raise ValueError(f"representations.sites must differ in letters and digits, got {', '.join(self.sites)}")
        return self


class RecommendationSettings(Section):
    top_n: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Recommended items a user (P_u).")
    context_items: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="Latest items of the history that count as context (H_u)."
    )
    block_users: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="Users scored in one block.")


SaeVariant = Literal["top_k", "batch_top_k", "matryoshka"]


class SaeVariation(Section):
    k: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="As sae.k.")
    expansion_factor: Annotated[int, Field(ge=1, le=256)] | None = Field(None, description="As sae.expansion_factor.")
    variant: SaeVariant | None = Field(None, description="As sae.variant.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(None, description="As seed.")


class SaeSettings(Section):
    version: Literal["candidate", "champion"] | PositiveInt = Field(
        "candidate", description="SAE version to read: an alias, or a number; resolved once, when the job starts."
    )
    expansion_factor: Annotated[int, Field(ge=1, le=256)] = Field(16, description="s: M = s·d latents.")
    k: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Latents that may be active for a row.")
    variant: SaeVariant = Field(
        "top_k",
        description="top_k: the k largest of each row. batch_top_k: the k · batch largest of a batch, so that rows "
        "share them as they need; afterwards those above a threshold, at most 4k a row. matryoshka: top_k, and nested "
        "prefixes of the latents learn to reconstruct alone, so that coarse concepts come first.",
    )
    prefixes: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (0.0625, 0.25, 1.0),
        description="Share of the latents that each nested prefix holds (variant matryoshka), rising to 1.",
    )
    auxiliary_coefficient: Annotated[float, Field(ge=0.0, le=1.0)] = Field(1 / 4, description="α, weight of AuxK.")
    auxiliary_k: PositiveInt | None = Field(None, description="k_aux; d/2 where unset.")
    dead_after_rows: PositiveInt | None = Field(
        None, description="Rows without firing that make a latent dead; one pass, at most 10 million, where unset."
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None,
        description="Adam learning rate, reached after a tenth of the steps and left for the last fifth; 8e-4/√(M/2¹⁴) "
        "where unset.",
    )
    batch_size: PositiveInt | None = Field(
        None,
        description="Representations a step (of each process); a hundredth of the rows, 64 to 1,024, where unset: with "
        "a thousand steps or fewer latents stay as random as they began.",
    )
    epochs: PositiveInt = Field(50, description="Passes over the training rows.")
    patience: PositiveInt = Field(10, description="Epochs without a lower FVU before training stops.")
    start: Literal["random", "champion"] = Field(
        "random",
        description="Weights that training starts from: random ones, or the champion's, so that latent ids keep their "
        "meaning from version to version (random ones where there is no champion yet).",
    )
    sweep: tuple[SaeVariation, ...] = Field(
        (),
        description="SAEs to train in the same passes over the data instead of one, each as these settings say but for "
        "what it names, e.g. [{k: 8}, {k: 16}]. All are registered; candidate becomes the one of the smallest k that "
        "is within checks.minimum_ndcg_kept, maximum_dead_fraction and maximum_fvu, else the one of the lowest FVU.",
    )
    loader_workers: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None,
        description="Petastorm reader threads, one a row group at most, which change no order; 2, or 1 where there is "
        "one row group, if unset.",
    )
    data_budget_mib: Annotated[int, Field(ge=0)] = Field(
        1024,
        description="MiB of training rows that a process may keep: rows that fit are read once and shuffled in memory, "
        "more are read again in every epoch. On a GPU they are kept in its memory if half of what is free holds them.",
    )

    @field_validator("prefixes")
    @classmethod
    def _prefixes_nest(cls, prefixes: tuple[float, ...]) -> tuple[float, ...]:
        if not prefixes or prefixes[-1] != 1.0 or any(a >= b for a, b in pairwise(prefixes)):
            raise ValueError(f"sae.prefixes must rise and end with 1, got {list(prefixes)}")
        return prefixes


class EvidenceSettings(Section):
    linked_items: Literal["recommended", "context"] = Field(
        "recommended", description="What links an item to a user: recommended to them (P_u) or in their context (H_u)."
    )
    salt: str = Field("recsae", description="Salt of the hash that splits users into construct and verify halves.")
    items_per_latent: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Items of the largest evidence that a latent keeps."
    )


class TermSettings(Section):
    weighting: Literal["class", "catalogue"] = Field(
        "class", description="Which idf: class-based (a latent is the document) or over the catalogue of items."
    )
    terms_per_latent: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Terms kept a latent, best first.")
    longest_ngram: Annotated[int, Field(ge=1, le=3)] = Field(2, description="Longest run of words that is a term.")
    stop_words: Literal["english", "none"] = Field("english", description="List of words that are no terms.")
    minimum_items: Annotated[int, Field(ge=1)] = Field(
        2, description="Distinct linked items of the latent that a significant term must occur in."
    )
    prior_strength: Annotated[float, Field(gt=0.0)] = Field(
        100.0, description="α₀: pseudo-count of the informative Dirichlet prior behind z_score."
    )
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="q-value under which a term is significant."
    )


class OpenaiSettings(Section):
    base_url: str | None = Field(None, description="Address of an OpenAI-compatible server; OpenAI's where unset.")
    model: str = Field("gpt-4o-mini", description="Model name sent to the server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = Field(0.6, description="Sampling temperature.")
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Requests under way at once (inline).")
    timeout_seconds: Annotated[float, Field(gt=0.0)] = Field(60.0, description="Time one request may take.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(4, description="Further tries after a passing failure.")
    max_answer_tokens: PositiveInt = Field(400, description="Tokens an answer may have.")
    price_per_million_prompt_tokens: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Price of a million prompt tokens by the transport in use; costs are not known where unset."
    )
    price_per_million_completion_tokens: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Price of a million tokens of answers by the transport in use."
    )
    budget_requests: PositiveInt | None = Field(
        None, description="Answers that one job of one date may pay for; the job stops before it pays for more."
    )
    budget_tokens: PositiveInt | None = Field(
        None, description="Tokens, of prompts and answers together, that one job of one date may pay for."
    )
    budget_cost: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Money that one job of one date may spend, in the currency of the prices (both must be set)."
    )
    batch_enqueued_tokens: PositiveInt = Field(
        2_000_000, description="Prompt tokens that may wait at the server at once (batch); a limit of your account."
    )
    batch_poll_seconds: Annotated[float, Field(gt=0.0)] = Field(
        60.0, description="Pause between two looks at batches under way, where a job waits for them."
    )

    @property
    def prices(self) -> tuple[float, float] | None:
        """Price of one prompt token and of one token of an answer; None where either is not set."""
        prompt, completion = self.price_per_million_prompt_tokens, self.price_per_million_completion_tokens
        return None if prompt is None or completion is None else (prompt / 1e6, completion / 1e6)

    @model_validator(mode="after")
    def _budget_has_prices(self) -> OpenaiSettings:
        if self.budget_cost is not None and self.prices is None:
            raise ValueError("openai.budget_cost needs openai.price_per_million_prompt_tokens and _completion_tokens")
        return self


class InterpretationSettings(Section):
    interpreter: Literal["terms", "openai"] = Field(
        "terms", description="Who names a latent: its own significant terms, or a language model."
    )
    transport: Literal["inline", "batch"] = Field(
        "inline",
        description="How requests reach the server: each by itself, many at once (any OpenAI-compatible server), or as "
        "files by the Batch API.",
    )
    prompt: str = Field("conf/prompts/interpret.md", description="Prompt file of the language model.")
    label_terms: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Terms that make a label of `terms`.")
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(15, description="Terms shown in a request.")
    top_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Items shown in a request.")
    near_miss_items: Annotated[int, Field(ge=0, le=100)] = Field(5, description="Near-miss items shown in a request.")
    openai: OpenaiSettings = Field(default_factory=OpenaiSettings, description="The server of interpreter openai.")


class VerificationSettings(Section):
    cases_per_kind: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="n: positive cases a latent, and as many negative ones."
    )
    interval_width: Annotated[float, Field(ge=0.05, lt=1.0)] | None = Field(
        None,
        description="Full width that the 95 % interval of a confidence shall have at most (0.2: ± 0.1); cases_per_kind "
        "then follows from it, as far as there are users (0.2 takes 47 of each kind).",
    )
    minimum_level: Annotated[int, Field(ge=1, le=10)] = Field(
        5, description="Activation level (decile, 1 to 10) from which a user is a positive case."
    )
    confidence: Share = Field(0.8, description="Confidence from which a latent may be interpretable.")
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(0.05, description="q-value that it must undercut.")
    neighbours: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="Nearest other latents whose users are the hard negatives."
    )
    judges: tuple[Judge, ...] = Field(
        ("terms",),
        description="Who judges the cases: terms (the term scorer, always there), and llm beside it, a language model "
        "on the server of interpretation.openai, whose scores the concepts then carry.",
    )
    judge_prompt: str = Field("conf/prompts/judge.md", description="Prompt file of judge llm.")
    judge_temperature: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        0.0, description="Sampling temperature of judge llm."
    )
    judge_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Linked items of a case shown to llm.")
    cases_per_request: Annotated[int, Field(ge=1, le=500)] | None = Field(
        None, description="Cases of a latent that one request to llm holds at most; all of a latent where unset."
    )
    association_users: PositiveInt = Field(
        20_000, description="Verify-half users, drawn by hash, behind the ROC-AUC of each latent."
    )

    @field_validator("judges")
    @classmethod
    def _terms_judge(cls, judges: tuple[Judge, ...]) -> tuple[Judge, ...]:
        if judges.count("terms") != 1 or len(set(judges)) < len(judges):
            raise ValueError(f"verification.judges is [terms] or [terms, llm], got {list(judges)}")
        return judges


class CoverageSettings(Section):
    minimum_document_frequency: PositiveInt = Field(5, description="Items that an item feature needs before it counts.")
    confidences: tuple[Share, ...] = Field((0.6, 0.7, 0.8, 0.9, 1.0), description="Confidences that are reported.")
    coherence_cases: Annotated[int, Field(ge=2, le=100)] = Field(10, description="Top cases behind coherence.")


class DriftSettings(Section):
    against: Literal["previous"] | date | PositiveInt = Field(
        "previous",
        description="What an audit is compared with: previous, the last audit published for an earlier date; the audit "
        "published for a date; or the last one published with an SAE version (a number).",
    )
    minimum_similarity: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.7,
        description="Similarity from which two latents may be the same: cosine of their decoder rows, or correlation "
        "of their activations where the two SAEs read different recommender versions.",
    )
    minimum_term_similarity: Share = Field(
        0.5,
        description="Cosine between the tfidf of the terms of two matched latents from which the concept is stable; "
        "below it has drifted.",
    )
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Significant terms of each side among which a term counts as gained or lost."
    )
    users: Annotated[int, Field(ge=100)] = Field(
        1_000_000, description="About so many users, drawn by hash, behind correlations of activations."
    )

    @field_validator("against", mode="before")
    @classmethod
    def _no_date_from_a_number(cls, against: object) -> object:
        if isinstance(against, int | float) and not (isinstance(against, int) and against >= 1):
            raise ValueError("drift.against is previous, a date or an SAE version from 1")  # not days since 1970
        return against


class CheckSettings(Section):
    maximum_fvu: Annotated[float, Field(gt=0.0)] = Field(0.5, description="FVU above which an audit fails.")
    maximum_dead_fraction: Share = Field(0.1, description="Dead latents' share above which an audit warns.")
    minimum_ndcg_kept: Share = Field(0.9, description="NDCG kept by reconstruction under which an audit warns.")
    maximum_reject_share: Share = Field(0.05, description="Rejected rows' share above which an audit fails.")
    fail_stable_share: Share = Field(
        0.0, description="Share of stable latents (concept_drift) under which an audit fails; 0 never does."
    )
    warn_stable_share: Share = Field(0.5, description="Share of stable latents under which an audit warns.")
    retrain_stable_share: Share = Field(
        0.5,
        description="Share of stable latents under which an audit asks for retraining, where its SAE is the one of the "
        "audit it is compared with: a new SAE has its own latents, and retraining again would not bring the old back.",
    )

    @model_validator(mode="after")
    def _warns_first(self) -> CheckSettings:
        if self.fail_stable_share > self.warn_stable_share:
            raise ValueError(
                f"checks.fail_stable_share ({self.fail_stable_share:g}) must not exceed checks.warn_stable_share "
                f"({self.warn_stable_share:g})"
            )
        return self


class MaintenanceSettings(Section):
    keep_nights: Annotated[int, Field(ge=1)] = Field(
        400, description="Nights whose audits stay in the tables, counted back from the date of maintain_tables."
    )
    keep_snapshot_days: Annotated[int, Field(ge=0)] = Field(
        7, description="Days for which snapshots stay readable that no branch and no tag holds."
    )
    keep_bulk_nights: Annotated[int, Field(ge=1)] = Field(
        14, description="Nights whose representations stay in paths.bulk; older ones can be extracted again."
    )


class Settings(Section):
    namespace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "ml_100k", description="Application; the warehouse namespace and the suffix of the model names."
    )
    catalog: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "recsae", description="Iceberg catalog, declared in the Spark properties."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(2026, description="Seed of everything random.")
    device: Device = Field("auto", description="Where torch runs while training: auto takes CUDA when there is one.")
    paths: PathSettings = Field(default_factory=PathSettings, description="Where a run writes.")
    spark: SparkSettings = Field(default_factory=SparkSettings, description="Spark when not under spark-submit.")
    dataset: DatasetSettings = Field(default_factory=DatasetSettings, description="Raw data.")
    recommender: RecommenderSettings = Field(default_factory=RecommenderSettings, description="The model to audit.")
    representations: RepresentationSettings = Field(
        default_factory=RepresentationSettings, description="Extraction of representations."
    )
    recommendations: RecommendationSettings = Field(
        default_factory=RecommendationSettings, description="Items linked to users."
    )
    sae: SaeSettings = Field(default_factory=SaeSettings, description="The sparse autoencoder.")
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings, description="Linking latents to items.")
    terms: TermSettings = Field(default_factory=TermSettings, description="Concept terms.")
    interpretation: InterpretationSettings = Field(
        default_factory=InterpretationSettings, description="Names of concepts."
    )
    verification: VerificationSettings = Field(
        default_factory=VerificationSettings, description="The confidence score."
    )
    coverage: CoverageSettings = Field(default_factory=CoverageSettings, description="Metrics over all latents.")
    drift: DriftSettings = Field(default_factory=DriftSettings, description="Comparison with an earlier audit.")
    checks: CheckSettings = Field(default_factory=CheckSettings, description="Limits that guard publication.")
    maintenance: MaintenanceSettings = Field(
        default_factory=MaintenanceSettings, description="What maintain_tables keeps."
    )

    def namespaces(self, site: str) -> dict[Scope, str]:
        """Return the namespace of the tables of each scope, e.g. ml_1m, ml_1m__ranking, ml_1m__ranking__blocks_0.

        Parameters
        ----------
        site : probing site; the default one, ``last``, has the namespace of its model.
        """
        model = f"{self.namespace}__{self.recommender.name}" if self.recommender.name else self.namespace
        audit = model if site == DEFAULT_SITE else f"{model}__{_slug(site)}"
        return {"data": self.namespace, "model": model, "audit": audit}

    def digest(self) -> str:
        """SHA-256 (first 16 hex digits) of the resolved settings, the same for the same values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_settings(
    base: Path | None, conf: Path | dict[str, Any] | None = None, overrides: list[str] | None = None
) -> Settings:
    """Resolve settings from `base`, then the preset, then `conf`, then `overrides` (``a.b=value``, value in YAML).

    Parameters
    ----------
    base, conf : settings files; or, for conf, what such a file would hold.

    Raises
    ------
    InputError : a file is missing or no YAML mapping, a key is unknown (the nearest known one is named), or a
        value has the wrong type or lies out of bounds; all faults are reported together.
    """
    given = read_yaml(conf) if isinstance(conf, Path) else conf or {}
    for override in overrides or []:
        given = merge(given, _parse_override(override))
    merged = merge(read_yaml(base) if base is not None else {}, _preset(given))
    merged = merge(merged, given)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise InputError(
            f"Settings refused: {explain_faults(error)}", "`recsae config` lists every setting with its bounds"
        ) from None


def as_commented_yaml(settings: Settings) -> str:
    """Every setting in YAML, each below its description; conf/base.yaml is this text for the defaults."""
    lines: list[str] = []

    def visit(section: Section, indent: str) -> None:
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            lines.append(f"{indent}# {field.description}")
            if isinstance(value, Section):
                lines.append(f"{indent}{name}:")
                visit(value, indent + "  ")
            else:
                plain = section.model_dump(mode="json")[name]
                lines.append(f"{indent}{name}: {json.dumps(plain, ensure_ascii=False)}")

    visit(settings, "")
    return "\n".join(lines) + "\n"


def known_keys() -> list[str]:
    """Dotted names of all settings and sections."""
    keys: list[str] = []

    def visit(section: type[Section], prefix: str) -> None:
        for name, field in section.model_fields.items():
            keys.append(prefix + name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                visit(field.annotation, f"{prefix}{name}.")

    visit(Settings, "")
    return keys


def _slug(site: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", site.lower()).strip("_")


def _preset(given: dict[str, Any]) -> dict[str, Any]:
    recommender = given.get("recommender")
    name = recommender.get("preset") if isinstance(recommender, dict) else None
    return {"recommender": PRESETS[name]} if isinstance(name, str) and name in PRESETS else {}


def explain_faults(error: ValidationError) -> str:
    """All faults in one line; an unknown key with the nearest known one."""
    return "; ".join(_explain(fault) for fault in error.errors())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    InputError : the file cannot be read or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Cannot read the settings file {path}: {error.strerror}", "Give --conf a readable file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", "Mend the file") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not settings", "Write `key: value` lines")
    return content


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override!r} is not of the form a.b=value", "Write for example --set sae.k=16")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"The value of --set {override!r} is not valid YAML", "Quote it") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one tree of settings over another."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _explain(fault: Any) -> str:
    location = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("literal[", "constrained-")))
    if fault["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(location, known_keys(), n=1, cutoff=0.0)
        return f"unknown key {location} (the nearest known one is {nearest[0]})"
    return f"{location or 'settings'}: {fault['msg']}, got {fault['input']!r}" if fault["loc"] else str(fault["msg"])
