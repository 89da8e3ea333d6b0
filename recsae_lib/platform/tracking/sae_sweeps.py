"""What the versions of an automatic sweep say of each other in the registry: their tags, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsae_lib.config.sae import SaeVariation
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.remote_names import finite_number, positive_number
from recsae_lib.sae.training.sweep import Contender, SweepResult

SWEEP_TAG, DEV_KEPT_TAG = "sweep_versions", "dev_ndcg_at_10_kept"


def like_version(context: JobContext, version: int, dimension: int) -> SaeVariation:
    """Entry of a sweep that trains what an SAE version was trained as.

    Raises
    ------
    InputError : the tags of the version do not say it.
    """
    tags = context.registry.tags(context.sae_name, version)
    latents, k = (_number(context, version, tags, tag) for tag in ("num_latents", "k"))
    entry = {"k": k, "expansion_factor": latents // dimension, "variant": tags.get("variant")}
    try:
        return SaeVariation.model_validate(entry)
    except ValueError:
        raise InputError(
            f"The tags of {context.sae_name} version {version} describe no SAE that can be trained",
            "Set sae.start to random, or sae.sweep to what is to be trained",
        ) from None


def tag_contenders(context: JobContext, versions: Sequence[int], results: Sequence[SweepResult]) -> None:
    """Write on each version of an automatic sweep which versions belong to it, and what it keeps."""
    every = " ".join(map(str, sorted(set(versions))))
    for version, result in zip(versions, results, strict=True):
        kept = "" if result.kept is None else repr(result.kept)
        context.registry.set_tags(context.sae_name, version, {SWEEP_TAG: every, DEV_KEPT_TAG: kept})


def contenders_of(context: JobContext, version: int) -> list[Contender]:
    """The SAEs of the automatic sweep that a version comes from, by number; none of a version of no such sweep.

    Raises
    ------
    InputError : a tag is none that `tag_contenders` writes, or a version is gone.
    """
    listed = context.registry.tags(context.sae_name, version).get(SWEEP_TAG, "").split()
    numbers = [positive_number(number, _what(context, version, SWEEP_TAG)) for number in listed]
    return [_contender(context, number) for number in numbers]


def _contender(context: JobContext, version: int) -> Contender:
    tags = context.registry.tags(context.sae_name, version)
    kept = tags.get(DEV_KEPT_TAG, "")
    share = finite_number(kept, _what(context, version, DEV_KEPT_TAG)) if kept else None
    folder = context.registry.fetch(context.sae_name, version)
    return Contender(version, folder, share, _number(context, version, tags, "num_latents"))


def _number(context: JobContext, version: int, tags: Mapping[str, str], tag: str) -> int:
    return positive_number(tags.get(tag, ""), _what(context, version, tag))


def _what(context: JobContext, version: int, tag: str) -> str:
    return f"The tag {tag} of {context.sae_name} version {version}"
