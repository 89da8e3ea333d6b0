"""The planted recommender and SAE, registered as the jobs `train_recommender` and `train_sae` do it."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file
from torch.nn import functional

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.tracking import sae_runs
from recsae_lib.platform.tracking.recommender_runs import open_run, register_model
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.vocabulary import write_vocabulary
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.sae.baselines import along, compared_with
from recsae_lib.sae.evaluation import evaluate_sae, fvu_of_rows
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.reach import bounded_sample
from recsae_lib.sae.training.loop import TrainedSae
from recsae_lib.sae.training.one_sae import EpochReport, SaeChoice
from tests.benchmarks.growing.world import DIMENSION, directions, item_vectors

IDS_AT_ONCE = 100_000


def register_recommender(context: JobContext, items: int, scale: float = 1.0) -> None:
    """Register the module of the settings with the planted item vectors times `scale`, alias candidate."""
    settings, folder = context.settings.recommender, context.work_folder() / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    assert settings.module.weights is not None
    padded = np.concatenate([np.zeros((1, DIMENSION), dtype=np.float32), scale * item_vectors(items)])
    save_file({"items.weight": torch.from_numpy(padded)}, settings.module.weights)
    starts = range(0, items, IDS_AT_ONCE)
    ids = ([f"item-{n:08d}" for n in range(start, min(start + IDS_AT_ONCE, items))] for start in starts)
    write_vocabulary(folder, "item", (pa.array(some) for some in ids))
    model = ModuleRecommender.of(settings.module, items, None)
    with open_run(context, model.dimension) as run:
        register_model(context, run, model, Split(), folder, {})


def register_sae(context: JobContext, folder: str, seed: int) -> None:
    """Register an SAE whose first latents read along the planted features and the others anywhere, alias candidate.

    Its decoder is fitted to a sample of the training rows. The dictionaries beside it are those of `train_sae`, but
    for the replica, which is another of its kind.

    Parameters
    ----------
    folder : of the training rows.
    """
    settings = context.settings
    loader = RepresentationLoader(folder, settings.sae.batch_size, settings.seed)
    sample = bounded_sample(loader.iterate(0), loader.dimension)
    sae, replica = (planted_sae(sample, settings.sae.expansion_factor, settings.sae.k, n) for n in (seed, seed + 1))
    initial = SparseAutoencoder.initialise(sample, sae.num_latents, sae.k, seed)
    measured = evaluate_sae(sae, loader.iterate(0))
    report = EpochReport(1, measured.fvu, 0.0, measured.l0, measured.dead_fraction, loader.rows, 1.0)
    trained, choice = TrainedSae(sae, initial, (report,)), SaeChoice(settings.sae, seed)
    parameters = sae_runs.training_parameters(context, loader.parameters(), "cpu", 1)
    origin = sae_runs.lineage(parameters["data_digest"], None)
    beside = compared_with([replica], initial, sample, seed)
    with sae_runs.open_runs(context, [choice], parameters) as runs:
        version = sae_runs.register(
            *(context, runs.each[0], choice, trained, measured, {}, sample[:3].numpy(), origin, beside),
            lambda dictionary: {"fvu": fvu_of_rows(dictionary, sample)},
        )
    context.registry.set_alias(context.sae_name, "candidate", version)


def planted_sae(sample: torch.Tensor, expansion: int, k: int, seed: int) -> SparseAutoencoder:
    """SAE along the planted features and random directions, those of W_dec fitted, of unit norm."""
    drawn = torch.randn(expansion * DIMENSION, DIMENSION, generator=torch.Generator().manual_seed(seed))
    towards = functional.normalize(drawn)
    planted = torch.from_numpy(directions())[: len(towards)]
    towards[: len(planted)] = planted
    fitted = along(towards, sample, k)
    W_enc, W_dec = fitted.W_enc.detach(), fitted.W_dec.detach()
    lengths = W_dec.norm(dim=1, keepdim=True)
    fires = lengths > 0
    W_enc, W_dec = torch.where(fires, W_enc * lengths, W_enc), torch.where(fires, W_dec / lengths, towards)
    return SparseAutoencoder(W_enc, fitted.b_enc.detach(), W_dec, fitted.b_dec.detach(), k)
