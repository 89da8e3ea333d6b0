"""Settings of the sparse autoencoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from recsae_lib.config.section import PositiveInt, Section

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
    initial_directions: Literal["random", "clusters"] = Field(
        "random",
        description="Rows of W_dec, and of W_enc, that training begins with where it starts at random: random ones, or "
        "those towards the k-means centroids of up to 100,000 training rows.",
    )
    replicas: Annotated[int, Field(ge=0, le=10)] = Field(
        1,
        description="SAEs that are trained beside each one in the same passes, as its settings say but with another "
        "seed. They show which latents are found again, and are never candidates.",
    )
    sweep: tuple[SaeVariation, ...] | Literal["auto"] = Field(
        (),
        description="SAEs to train in the same passes over the data instead of one, each as these settings say but for "
        "what it names, e.g. [{k: 8}, {k: 16}]. All are registered; candidate becomes the one of the smallest k that "
        "is within checks.minimum_ndcg_kept, maximum_dead_fraction and maximum_fvu, else the one of the lowest FVU. "
        "auto: a few sizes that suit the number of users; the job choose_sae makes the one of most confirmed concepts "
        "candidate, of those within checks.minimum_ndcg_kept.",
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
