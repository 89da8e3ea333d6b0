"""Plots of a trained sparse autoencoder, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from recsae_lib.sae.training.one_sae import EpochReport
from recsae_lib.sae.training.sweep import SweepResult


def density_plot(densities: np.ndarray, rows: int) -> Figure:
    """Histogram of log₁₀ of the share of rows for which each latent fires; dead latents stand in the title.

    Parameters
    ----------
    densities : (M,) shares.
    rows : of the set they were counted on; nothing can be rarer than one of them.
    """
    alive = densities[densities > 0]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.hist(np.log10(alive), bins=np.linspace(-np.log10(max(rows, 10)), 0, 41), color="#4477aa")
    axes.set(
        xlabel="log₁₀ of the share of rows for which a latent fires",
        ylabel="latents",
        title=f"{len(alive):,} latents fire on {rows:,} rows, {len(densities) - len(alive):,} do not",
    )
    return figure


def sweep_plot(results: Sequence[SweepResult]) -> Figure:
    """FVU against k, a line for each variant and size of dictionary."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for result in results:
        settings = result.choice.settings
        name = f"{settings.variant}, s = {settings.expansion_factor}"
        lines.setdefault(name, []).append((settings.k, result.fvu_within_reach))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set(xlabel="k, active latents a row", ylabel="FVU", ylim=(0, None))
    axes.legend()
    return figure


def loss_plot(reports: Sequence[EpochReport]) -> Figure:
    """FVU, AuxK and dead fraction by epoch."""
    epochs = [report.epoch for report in reports]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(epochs, [report.fvu for report in reports], color="#4477aa", label="FVU")
    axes.plot(epochs, [report.auxk for report in reports], color="#ccbb44", label="AuxK")
    axes.plot(epochs, [report.dead_fraction for report in reports], color="#ee6677", label="dead fraction")
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.legend()
    return figure
