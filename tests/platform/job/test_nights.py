"""Which locks the jobs of two models on the same data hold, beside each other and one after the other."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsae_lib.config import load_settings
from recsae_lib.errors import PassingError
from recsae_lib.flow import audit
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import JOBS, Job
from recsae_lib.platform.job.nights import hold_tables, modes_of, writes_data
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.storage.locks import RUN_VARIABLE
from recsae_lib.platform.warehouse import raw_history
from tests.workspace import DT


def context_of(folder: Path, job: str, model: str | None = None, *settings: str) -> JobContext:
    named = [] if model is None else [f"recommender.name={model}"]
    return JobContext(job, load_settings(None, None, ["namespace=shop", f"paths.var={folder}", *named, *settings]), DT)


def test_the_jobs_that_write_shared_data_are_those_declared() -> None:
    assert [job.name for job in JOBS if writes_data(job.name)] == ["ingest_dataset"]


def test_a_run_has_its_model_and_sites_alone(tmp_path: Path) -> None:
    context = context_of(tmp_path, "train_sae", "ranking", "representations.sites=[last,blocks.0]")
    assert modes_of(context, "read") == {"shop": "read", "shop__ranking": "write", "shop__ranking__blocks_0": "write"}
    assert modes_of(context_of(tmp_path, "train_sae"), "read") == {"shop": "write"}


def test_data_is_not_ingested_under_a_job_of_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a scheduler gives the runs of both models one name, as two of its installations may."""
    monkeypatch.setenv(RUN_VARIABLE, "nightly_audit scheduled__2026-11-20")
    begun: list[str] = []

    def run(context: JobContext) -> None:
        begun.append(context.job)
        if context.job == "encode_latents":
            for model, refused in (("b", "shop of 2026-11-20"), ("a", None)):  # one of its own run may, at any time
                expected = pytest.raises(PassingError, match=f"{refused} is under way: .* for shop__a on")
                with expected if refused else nullcontext():
                    execute(context_of(tmp_path, "ingest_dataset", model), run)
            execute(context_of(tmp_path, "train_sae", "b"), run)
        if context.job == "ingest_dataset":
            with pytest.raises(PassingError, match=r"shop of 2026-11-20 is under way: .* for shop__a on"):
                execute(context_of(tmp_path, "train_sae", "b"), run)

    execute(context_of(tmp_path, "encode_latents", "a"), run)
    assert begun == ["encode_latents", "ingest_dataset", "train_sae"]
    execute(context_of(tmp_path, "ingest_dataset", "b"), lambda _: None)


def test_an_audit_keeps_the_data_that_it_has_ingested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model may not ingest at any moment of it; what it has not begun yet may run beside it after ingestion."""
    held: list[tuple[str, bool, bool]] = []

    def is_free(job: str) -> bool:
        with ExitStack() as tried:
            try:
                tried.enter_context(
                    hold_tables(context_of(tmp_path, job, "b"), "write" if writes_data(job) else "read")
                )
            except PassingError:
                return False
            return True

    def run(context: JobContext, _: object) -> float:
        held.append((context.job, is_free("ingest_dataset"), is_free("encode_latents")))
        return 0.0

    def data_digest(_: object) -> str:
        held.append(("digest", is_free("ingest_dataset"), is_free("encode_latents")))
        return "digest"

    monkeypatch.setattr(Job, "load", lambda _: SimpleNamespace(run=None))
    monkeypatch.setattr(audit, "execute", run)
    monkeypatch.setattr(raw_history, "data_digest", data_digest)
    monkeypatch.setattr(JobContext, "warehouse", None)
    audit.run_audit(context_of(tmp_path, "audit", "a"))
    assert held[:2] == [("ingest_dataset", False, False), ("digest", False, False)]
    assert [(before, after) for _, before, after in held[2:]] == [(False, True)] * 15
    assert is_free("ingest_dataset")
