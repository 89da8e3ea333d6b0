from __future__ import annotations

import numpy as np

from recsae_lib.sae.plots import density_plot, loss_plot
from recsae_lib.sae.training.one_sae import EpochReport


def test_density_plot_counts_every_live_latent_once() -> None:
    densities = np.array([0.0, 1.0, 0.001, 0.5, 0.0, 1 / 1000, 0.02])
    (axes,) = density_plot(densities, rows=1000).axes
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert axes.get_title() == "5 latents fire on 1,000 rows, 2 do not"


def test_density_plot_of_an_sae_without_live_latents_is_empty() -> None:
    (axes,) = density_plot(np.zeros(3), rows=4).axes
    assert sum(bar.get_height() for bar in axes.patches) == 0


def test_loss_plot_shows_every_epoch() -> None:
    reports = [EpochReport(epoch, 1 / epoch, 0.1, 4.0, 0.2, 100, 1.0) for epoch in (1, 2, 3)]
    (axes,) = loss_plot(reports).axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines == {"FVU": [1.0, 1 / 2, 1 / 3], "AuxK": [0.1] * 3, "dead fraction": [0.2] * 3}
