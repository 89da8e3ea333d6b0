"""Of an automatic sweep (sae.sweep: auto), make the SAE of most confirmed concepts candidate.

    spark-submit --properties-file conf/spark/local.conf jobs/choose_sae.py --dt 2026-11-20
    recsae run choose_sae --dt 2026-11-20

All versions of the sweep are judged side by side on users of the construct half: names are built on one half of those
and judged on the other. Of the versions that keep checks.minimum_ndcg_kept of dev NDCG@10, the one of most confirmed
concepts becomes candidate. Where none keeps as much it is the one that keeps most, and a warning says so. What each has
is in the tags of its version: choice_live, choice_interpretable and choice_confirmed units, and choice_coverage, the
share of item features that confirmed ones name. Without such a sweep the job does nothing.
"""

from __future__ import annotations

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.tracking.sae_sweeps import contenders_of
from recsae_lib.verification.choice import choose, is_faithful, judge_contenders
from recsae_lib.verification.surroundings import Surroundings


@for_each_site
def run(context: JobContext) -> None:
    """Judge the versions of the sweep; tag each with what it has, and make the best one candidate."""
    settings, registry, name = context.settings, context.registry, context.sae_name
    is_asked = settings.sae.sweep == "auto" and settings.sae.version == "candidate"
    contenders = contenders_of(context, context.sae_version) if is_asked else []
    if len(contenders) < 2:
        log.info("choose_sae: there is no automatic sweep (sae.sweep: auto) to choose from")
        return
    found = judge_contenders(contenders, Surroundings.of_context(context), settings)
    for one, has in zip(contenders, found, strict=True):
        registry.set_tags(name, one.version, {f"choice_{what}": str(value) for what, value in vars(has).items()})
        kept, covered = ("not measured" if share is None else f"{share:.1%}" for share in (one.kept, has.coverage))
        log.info(
            "choose_sae: version %s, %s latents: dev NDCG@10 kept %s, %s live, %s interpretable, %s confirmed, which "
            "cover %s of the item features",
            *(one.version, one.num_latents, kept, has.live, has.interpretable, has.confirmed, covered),
        )
    least = settings.checks.minimum_ndcg_kept
    if not any(is_faithful(one, least) for one in contenders):
        log.warning("choose_sae: no SAE keeps %.0f %% of dev NDCG@10: the one that keeps most is taken", 100 * least)
    taken = contenders[choose(contenders, found, least)].version
    registry.set_alias(name, "candidate", taken)
    log.info("choose_sae: candidate is version %s", taken)


if __name__ == "__main__":
    main(__file__)
