"""The list of jobs: what the command line, the audit and schedulers know of them before they import one."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, get_args

Retrain = Literal["nothing", "sae", "all"]  # what an audit trains even where it is registered
RETRAIN: tuple[Retrain, ...] = get_args(Retrain)


@dataclass(frozen=True)
class Job:
    """One job: a module of the folder ``jobs``, installed as ``recsae_jobs``, with ``run(context)``.

    Parameters
    ----------
    name : of the module.
    steps : whether it takes ``--step``: it hands work to a server, and may fetch the results later.
    estimates : whether it takes ``--estimate``: its module also has ``estimate(context)``.
    in_audit : whether an audit runs it.
    """

    name: str
    steps: bool = False
    estimates: bool = False
    in_audit: bool = True

    def load(self) -> ModuleType:
        """Import the module, with all that it needs."""
        return importlib.import_module(f"recsae_jobs.{self.name}")


# In the order in which an audit runs them.
JOBS = (
    Job("ingest_dataset"),
    Job("train_recommender"),
    Job("extract_representations"),
    Job("recommend_items"),
    Job("train_sae"),
    Job("choose_sae"),
    Job("encode_latents"),
    Job("compute_concept_terms"),
    Job("compute_latent_effects"),
    Job("interpret_concepts", steps=True, estimates=True),
    Job("verify_concepts", steps=True, estimates=True),
    Job("measure_coverage"),
    Job("tune_recommendations"),
    Job("compare_versions"),
    Job("publish_audit"),
    Job("build_explorer"),
    Job("maintain_tables", in_audit=False),
)
AUDIT_JOBS = tuple(job for job in JOBS if job.in_audit)


def job_named(name: str) -> Job:
    """Return the job of this name; KeyError where the list has none."""
    return {job.name: job for job in JOBS}[name]
