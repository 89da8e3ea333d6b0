from __future__ import annotations

from datetime import date
from pathlib import Path

from recsae_lib.config import load_settings
from recsae_lib.platform.job.record import RunRecord

DT = date(2026, 11, 20)


def record(tmp_path: Path, *overrides: str) -> RunRecord:
    return RunRecord.open(load_settings(None, None, [f"paths.var={tmp_path}", *overrides]), DT)


def test_an_interrupted_audit_goes_on(tmp_path: Path) -> None:
    first = record(tmp_path)
    first.note_data("digest-1")
    first.finish_job("ingest_dataset", 1.5)
    again = record(tmp_path)
    assert (again.done, again.data_digest, again.started_at) == ({"ingest_dataset": 1.5}, "digest-1", first.started_at)


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    record(tmp_path).finish_job("ingest_dataset", 1.5)
    assert record(tmp_path, "sae.k=9").done == {}


def test_other_data_makes_every_job_run_again(tmp_path: Path) -> None:
    first = record(tmp_path)
    first.note_data("digest-1")
    first.finish_job("train_recommender", 9.0)
    first.note_data("digest-1")
    assert first.done == {"train_recommender": 9.0}
    first.note_data("digest-2")
    assert record(tmp_path).done == {}


def test_a_finished_audit_is_not_gone_on_with(tmp_path: Path) -> None:
    first = record(tmp_path)
    first.finish_job("ingest_dataset", 1.5)
    first.finish()
    assert record(tmp_path).done == {}
    settings = load_settings(None, None, [f"paths.var={tmp_path}"])
    first.note_data("digest-1")
    assert RunRecord.is_finished(settings, DT)
    assert RunRecord.is_finished(settings, DT, "digest-1")
    assert not RunRecord.is_finished(settings, DT, "digest-2")
    assert not RunRecord.is_finished(settings, date(2026, 11, 21))
    assert not RunRecord.is_finished(load_settings(None, None, [f"paths.var={tmp_path}", "sae.k=9"]), DT)


def test_models_on_the_same_data_have_records_of_their_own(tmp_path: Path) -> None:
    record(tmp_path, "recommender.name=ranking").finish_job("train_recommender", 1.0)
    assert record(tmp_path, "recommender.name=retrieval").done == {}
    assert record(tmp_path, "recommender.name=ranking").done == {"train_recommender": 1.0}


def test_a_record_cut_short_begins_anew(tmp_path: Path) -> None:
    first = record(tmp_path)
    first.finish_job("ingest_dataset", 1.5)
    first.path.write_text(first.path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert record(tmp_path).done == {}
