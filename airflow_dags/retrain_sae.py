"""When concepts no longer fit: train a new sparse autoencoder, audit it as candidate, and promote it if it is good."""

from __future__ import annotations

from airflow.sdk import DAG
from pendulum import datetime

from recsae_dags.common import DEFAULT_ARGS, LONGEST_RUN, PARAMS, TAGS, audit
from recsae_dags.failures import report_timeout

DOC = """
### retrain_sae

Trains a new SAE on the representations of one date and audits it as `candidate`, on the branch `audit-<dt>` that nobody
reads. `publish_audit` decides: if no check of severity `fail` is violated (`checks.*` in the settings: FVU, dead
latents, what reconstruction keeps of NDCG@10, the consistency of all tables), the candidate becomes `champion` and its
tables are published; else the champion and the last good audit stay, and the run fails with the checks that say why.

Started by `nightly_audit` when concepts have drifted, by hand, or by a DAG of yours; the date is the parameter `dt`,
else the day of its logical date. With `sae.start=champion` in `set`, as `nightly_audit` gives it, the new SAE goes on
from the champion's weights, so that latent ids keep their meaning.
Waits for an audit that is under way, as `nightly_audit` does.
"""

with DAG(
    "retrain_sae",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=LONGEST_RUN,
    on_failure_callback=report_timeout,
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=TAGS,
    description="recsae: train a new SAE, audit it as candidate, promote it if its checks pass",
    doc_md=DOC,
):
    compare, publish = audit("sae")
    compare >> publish
