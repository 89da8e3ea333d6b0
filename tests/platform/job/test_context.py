from __future__ import annotations

from datetime import date
from typing import Any

from recsae_lib.config import Settings
from recsae_lib.platform.job.context import JobContext

DT = date(2026, 11, 20)


def test_contexts_made_from_one_share_registry_and_versions() -> None:
    registry: Any = object()
    context = JobContext(
        "verify_concepts", Settings(), DT, spark_overrides={"spark.ui.enabled": "false"}, step="submit"
    )
    context.at_site("blocks.0").shared.registry = registry  # opened by whichever comes first
    context.versions["sae"] = 4
    other = context.with_settings(Settings(namespace="shop"))
    assert (other.shared.registry, other.versions) == (registry, {"sae": 4})
    assert (other.job, other.namespaces["audit"], other.step) == ("verify_concepts", "shop", None)
    site = context.at_site("blocks.0")
    assert (site.namespaces["audit"], site.step) == ("ml_100k__blocks_0", "submit")
    assert site.spark_overrides == {"spark.ui.enabled": "false"}
    assert site.for_job("publish_audit").versions == context.versions == {}  # another job resolves its own
    assert JobContext("verify_concepts", Settings(), DT).shared.registry is None
