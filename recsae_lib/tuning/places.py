"""Where the recommender, dictionaries, items and held-out users of an audit lie, and how a world is read from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch

from recsae_lib.config import DEFAULT_SITE, Settings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.recommenders.protocol import Recommender
from recsae_lib.recommenders.vocabulary import item_ids_of
from recsae_lib.representations.layout import RepresentationSet, RowKind
from recsae_lib.sae.dictionaries import dictionaries_of
from recsae_lib.sae.store import load_sae
from recsae_lib.tuning.catalogue import CatalogueFiles, worker_catalogue
from recsae_lib.tuning.held_out import read_users
from recsae_lib.tuning.item_vectors import SAMPLE_USERS, mean_slopes
from recsae_lib.tuning.methods import COMPARED
from recsae_lib.tuning.world import World

DEV_USERS, TEST_USERS = 1_000, 10_000  # at most, drawn at random
HELD_OUT: tuple[RowKind, ...] = ("dev", "test")


@dataclass(frozen=True)
class Places:
    """Where a world is read from.

    Parameters
    ----------
    recommender : folder of `recommenders.store`, and the call that builds it (`load_recommender`).
    sae : folder of `sae.store`, with the dictionaries beside it.
    dev, test : folders of held-out users (`RepresentationSet`).
    catalogue : what is known of the items.
    """

    recommender: Path
    factory: str | None
    sae: Path
    dev: str
    test: str
    catalogue: CatalogueFiles

    @classmethod
    def of_context(cls, context: JobContext) -> Places:
        """Where the audit of a context lies.

        Raises
        ------
        InputError : nobody is held out at this site, as items are not scored from it.
        """
        if not has_held_out_users(context):
            raise InputError(
                f"No user is held out at site {context.site}, as items are not scored from it: no strength can be "
                "chosen there, and nothing measured",
                "Give tunings of this site latents and a strength",
            )
        dev, test = (RepresentationSet.of_context(context, rows).path for rows in HELD_OUT)
        return cls(
            context.registry.fetch(context.recommender_name, context.model_version),
            context.settings.recommender.factory,
            context.registry.fetch(context.sae_name, context.sae_version),
            dev,
            test,
            catalogue_files(context),
        )

    def compared(self) -> dict[UnitKind, Path]:
        """Folders of the dictionaries that tunings are compared with: the first of each kind."""
        found: dict[UnitKind, Path] = {}
        for one in dictionaries_of(self.sae):
            if one.kind in COMPARED:
                found.setdefault(one.kind, one.folder)
        return found


def read_world(
    places: Places, compared: Mapping[UnitKind, Path], recommender: Recommender, settings: Settings
) -> World:
    """Load what tunings are measured in."""
    dev = read_users(places.dev, DEV_USERS, settings.seed)
    return World(
        recommender=recommender,
        vectors=item_vectors(recommender, dev.x),
        item_ids=item_ids_of(places.recommender).to_numpy(zero_copy_only=False),
        sae=load_sae(places.sae),
        others={kind: load_sae(folder) for kind, folder in compared.items()},
        catalogue=worker_catalogue(places.catalogue, recommender.item_count),
        dev=dev,
        test=read_users(places.test, TEST_USERS, settings.seed),
        seed=settings.seed,
    )


def item_vectors(recommender: Recommender, x: np.ndarray) -> np.ndarray:
    """Item vectors (n, d); the mean slopes of the scores over users (`mean_slopes`) where a method scores them."""
    if recommender.dot_scored:
        return recommender.item_embeddings().detach().cpu().numpy()
    slopes = np.empty((x.shape[1], recommender.item_count), dtype=np.float32)
    return mean_slopes(recommender.score, torch.from_numpy(x[:SAMPLE_USERS]), slopes)


def catalogue_files(context: JobContext) -> CatalogueFiles:
    """What is known of the items of an audit's recommender."""
    folder = RepresentationSet.of_context(context, "last", DEFAULT_SITE).catalogue()
    return CatalogueFiles(folder, context.settings.coverage.minimum_document_frequency)


def has_held_out_users(context: JobContext) -> bool:
    """Whether users are held out at the site: items are scored from it, and histories are known."""
    return all(RepresentationSet.of_context(context, rows).exists() for rows in HELD_OUT)


def audited_context(context: JobContext, dt: date | None) -> JobContext:
    """Context of what was audited: of the champion where the settings leave the SAE at ``candidate`` and there is one,
    and of the newest date whose held-out users are there where none is given.

    Raises
    ------
    InputError : there is none.
    """
    settings = context.settings
    version = context.registry.champion(context.sae_name) if settings.sae.version == "candidate" else None
    if version is None:
        version = context.sae_version
    trained_on = context.registry.tags(context.sae_name, version).get("model_version")
    settings = settings.model_copy(update={"sae": settings.sae.model_copy(update={"version": version})})
    if trained_on is not None:
        recommender = settings.recommender.model_copy(update={"version": int(trained_on)})
        settings = settings.model_copy(update={"recommender": recommender})
    context = context.with_settings(settings)
    if dt is not None:
        return context
    dates = RepresentationSet.of_context(context, "test").complete_dates()
    if not dates:
        raise InputError(
            f"No users of recommender version {context.model_version} are held out at site {context.site}",
            "Run an audit first (recsae audit), with the same settings",
        )
    return replace(context, dt=max(dates))
