"""How much of the representations, and of the recommendations made from them, survives reconstruction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.errors import InputError
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments
from recsae_lib.sae.reach import MEASURED_ROWS, Reach, first_rows

BLOCK_ROWS = 8192
ROUNDING = 1e-12  # share of Σ (x − centre)² below which a dimension has no variance


@dataclass(frozen=True)
class SaeMetrics:
    """Reconstruction of a whole set of representations (METHOD.md section 2).

    Parameters
    ----------
    fvu : Σ‖x − x̂‖² / Σ‖x − mean(x)‖²; always giving the mean of the set scores exactly 1.
    fvu_within_reach : the same over the rows within reach (`Reach`): one row far out does not decide it.
    fvu_by_dimension : mean over the dimensions of min(1, FVU of the dimension), over the rows within reach: one wide
        dimension does not decide it. A dimension without variance is left out.
    rows_beyond_reach : rows of the set beyond reach.
    l0 : mean number of active latents a row.
    alive : latents that fire for at least one row of the set.
    dead_fraction : share of latents that fire for none.
    mean_cosine : mean cosine between x and x̂.
    shrinkage : Σ‖x̂ − b_dec‖² / Σ (x̂ − b_dec) · (x − b_dec), the factor by which x̂ − b_dec would have to be divided to
        come nearest to x − b_dec: below 1, reconstructions are too short. NaN where nothing fires.
    rows : rows of the set.
    densities : (M,) float64, share of the rows for which each latent fires.
    """

    fvu: float
    fvu_within_reach: float
    fvu_by_dimension: float
    rows_beyond_reach: int
    l0: float
    alive: int
    dead_fraction: float
    mean_cosine: float
    shrinkage: float
    rows: int
    densities: np.ndarray

    def by_name(self) -> dict[str, float]:
        """The figures under the names that METHOD.md and the tables give them."""
        return {
            "fvu": self.fvu,
            "fvu_within_reach": self.fvu_within_reach,
            "fvu_by_dimension": self.fvu_by_dimension,
            "rows_beyond_reach": self.rows_beyond_reach,
            "l0": self.l0,
            "dead_fraction": self.dead_fraction,
            "mean_cosine": self.mean_cosine,
            "shrinkage": self.shrinkage,
            "training_rows": self.rows,
        }


@torch.no_grad()
def fvu_of_rows(sae: SparseAutoencoder, rows: torch.Tensor) -> float:
    """FVU of (n, d) rows that are held as a whole: `evaluate_sae` gives the same, and much else, at ten times the cost.

    Raises
    ------
    InputError : a row holds NaN or an infinite number.
    """
    missed = sum(_energy(block - sae.decode(*sae.encode(block))) for block in rows.split(BLOCK_ROWS))
    return missed / _energy(rows - rows.mean(0))


def _energy(x: torch.Tensor) -> float:
    return float(np.square(x.cpu().numpy(), dtype=np.float64).sum())  # numpy: leaves the threads of torch alone


@torch.no_grad()
def evaluate_sae(sae: SparseAutoencoder, batches: Iterable[torch.Tensor]) -> SaeMetrics:
    """Measure one pass over (batch, d) batches, streamed; sums are float64.

    Raises
    ------
    InputError : there are no rows, they are all alike, or they hold NaN.
    """
    device = sae.W_dec.device
    moments = RunningMoments(sae.dimension, device)
    fires = torch.zeros(sae.num_latents, dtype=torch.int64, device=device)
    # Σ‖x − x̂‖², active latents, Σ cosine, Σ‖x̂ − b_dec‖², Σ (x̂ − b_dec) · (x − b_dec)
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    sample, every = first_rows(batches, MEASURED_ROWS, sae.dimension)
    reach = Reach.of(sample.to(device))
    # Of the rows within reach, by dimension: Σ (x − x̂)², Σ (x − centre), Σ (x − centre)²
    within, rows_within = torch.zeros(3, sae.dimension, dtype=torch.float64, device=device), 0
    for batch in every:
        x = batch.to(device)
        x_hat, activations, latent_ids = sae.reconstruct(x)
        active = activations > 0
        fires += torch.bincount(latent_ids[active], minlength=sae.num_latents)
        exact, exact_hat = x.double(), x_hat.double()
        cosine = F.cosine_similarity(exact, exact_hat, dim=1)
        away, away_hat = exact - sae.b_dec, exact_hat - sae.b_dec
        products = (away_hat.square().sum(), (away_hat * away).sum())
        sums += torch.stack([(exact - exact_hat).square().sum(), active.sum(), cosine.sum(), *products])
        moments.add(x)
        near = reach.distances(x) <= 1
        shifted, missed = exact[near] - reach.centre, (exact - exact_hat)[near]
        within += torch.stack([missed.square().sum(0), shifted.sum(0), shifted.square().sum(0)])
        rows_within += len(shifted)
    if not moments.squared_deviations > 0.0:
        raise InputError(
            f"The {moments.rows} representations to evaluate on have no variance", "Evaluate on more users"
        )
    squared_error, active_latents, cosines, squared_lengths, projections = sums.tolist()
    alive = int((fires > 0).sum())
    errors, deviations = within[0], within[2] - within[1].square() / max(rows_within, 1)
    varied = deviations > ROUNDING * within[2]
    of_dimensions = (errors[varied] / deviations[varied]).clamp(max=1.0)
    return SaeMetrics(
        fvu=squared_error / moments.squared_deviations,
        fvu_within_reach=float(errors.sum() / deviations.sum()),
        fvu_by_dimension=float(of_dimensions.mean()),
        rows_beyond_reach=moments.rows - rows_within,
        l0=active_latents / moments.rows,
        alive=alive,
        dead_fraction=1.0 - alive / sae.num_latents,
        mean_cosine=cosines / moments.rows,
        shrinkage=squared_lengths / projections if projections else math.nan,
        rows=moments.rows,
        densities=fires.cpu().numpy() / moments.rows,
    )
