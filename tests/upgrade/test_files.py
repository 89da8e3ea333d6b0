"""Ledger, stored SAE and book of jobs of the release before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.platform.job.record import JobRecord, read_book
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.sae.store import load_sae
from tests.upgrade.earlier_release import EarlierRelease


@pytest.fixture
def release(tmp_path: Path) -> EarlierRelease:
    return EarlierRelease.unpack(tmp_path / "release")


def test_what_was_paid_for_is_not_asked_again(release: EarlierRelease) -> None:
    path, requests = release.folder / "shop.sqlite", release.folder / "requests.jsonl"
    with Ledger.open(path, "2026-11-04/interpret_concepts", requests, LlmSettings()) as ledger:
        ledger.intend("inline")
        assert ledger.count("answered") == 2
        pending = [request["custom_id"].split("-")[1] for request, _, _ in ledger.pending()]
        assert pending == ["2", "3"]  # what failed, and what was never sent
        answers = [answer["response"]["body"] for _, answer in ledger.read_answers() if answer and answer["response"]]
        assert [body["choices"][0]["message"]["content"] for body in answers] == ["war", "war"]
    with closing(sqlite3.connect(path)) as database:  # the release before reads it on
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_stored_sae_is_read(release: EarlierRelease) -> None:
    sae = load_sae(release.folder / "sae")
    assert (sae.num_latents, sae.dimension, sae.k, sae.threshold) == (4, 2, 1, 0.25)


def test_the_book_of_jobs_is_read(release: EarlierRelease) -> None:
    (record,) = read_book(release.folder / "jobs" / "shop.jsonl")
    started = "2026-11-03T01:00:00+00:00"
    assert record == JobRecord("ingest_dataset", "shop", "2026-11-03", started, 1.5, "done", data_digest="d", rows_in=7)
