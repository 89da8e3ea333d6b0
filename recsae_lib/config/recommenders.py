"""Settings of the recommender, family by family, and of its recommendations."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from recsae_lib.config.section import PositiveInt, Section

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


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
    factory: str | None = Field(
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
        description="Parquet of (item_id, item_index), the row of each item in your module, each row once; the "
        "ingested items by rising id where unset: from row 0 on, without padding_index if the module reads items.",
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

    @field_validator("factory")
    @classmethod
    def _factory_is_a_call(cls, factory: str | None) -> str | None:
        if factory is not None and not FACTORY.fullmatch(factory):
            package, _, function = factory.rpartition(".")
            example = f"{package}:{function}" if FACTORY.fullmatch(f"{package}:{function}") else "shop.gru:build"
            raise ValueError(f"write package.module:function, with a colon before the function, e.g. {example}")
        return factory

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


class RecommendationSettings(Section):
    top_n: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Recommended items a user (P_u).")
    context_items: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="Latest items of the history that count as context (H_u)."
    )
    block_users: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="Users scored in one block.")


# What RecSAE's authors train with (METHOD.md section 1): layers of settings between conf/base.yaml and --conf.
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
