from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from recsae_lib.config import Settings, load_settings
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.jobs import AUDIT_JOBS
from recsae_lib.platform.job.record import (
    JobRecord,
    Night,
    Outcome,
    RunRecord,
    book_path,
    latest_nights,
    migrate_books,
    read_book,
)
from recsae_lib.platform.storage.locks import RUN_VARIABLE

DT = date(2026, 11, 20)
INGEST, TRAIN, EXTRACT = (job.name for job in AUDIT_JOBS[:3])

# Written by release 0.1.0: a line each when the run of a job started and when it ended, and a record beside them.
OLD_BOOK = """\
{"job": "ingest_dataset", "namespace": "shop", "dt": "2026-11-20", "started_at": "2026-11-20T01:00:00+00:00", \
"seconds": 0.0, "outcome": "running", "cause": "", "model_version": null, "sae_version": null, "rows_in": 0, \
"rows_out": 0, "bytes_in": 0, "bytes_out": 0}
{"job": "ingest_dataset", "namespace": "shop", "dt": "2026-11-20", "started_at": "2026-11-20T01:00:00+00:00", \
"seconds": 1.5, "outcome": "done", "cause": "", "model_version": null, "sae_version": null, "rows_in": 7, \
"rows_out": 7, "bytes_in": 90, "bytes_out": 80}
{"job": "train_recommender", "namespace": "shop", "dt": "2026-11-20", "started_at": "2026-11-20T01:00:02+00:00", \
"seconds": 9.0, "outcome": "failed", "cause": "ValueError: no", "model_version": 2, "sae_version": null, \
"rows_in": 0, "rows_out": 0, "bytes_in": 0, "bytes_out": 0}
"""
OLD_RUN_RECORD = """\
{
 "config_digest": "1d278f6eed0a8f08",
 "code_version": "0.1.0",
 "started_at": "2026-11-20T01:00:00+00:00",
 "data_digest": "0123456789abcdef",
 "done": {
  "ingest_dataset": 1.5
 },
 "finished": false
}"""


def settings_of(var: Path, *overrides: str) -> Settings:
    return load_settings(None, None, [f"paths.var={var}", "namespace=shop", *overrides])


class Book:
    """A book in which audits and jobs by themselves write, a minute after each other."""

    def __init__(self, var: Path) -> None:
        self.var, self.minute = var, 0

    def write(
        self,
        job: str,
        data: str | None = "digest-1",
        outcome: Outcome = "done",
        code: str | None = None,
        run: str = "audit 1",
        overrides: tuple[str, ...] = (),
    ) -> None:
        settings = settings_of(self.var, *overrides)
        started = JobRecord(
            job,
            settings.namespaces("last")["model"],
            DT.isoformat(),
            f"2026-11-20T01:{self.minute:02}:00+00:00",
            run=run,
            config_digest=settings.digest(),
            code_version=code or code_version(),
            data_digest=None if job == INGEST else data,
        )
        self.minute += 1
        started.append_to(self.var)
        if outcome != "running":
            replace(started, outcome=outcome, seconds=float(self.minute)).append_to(self.var)

    def read(self, *overrides: str, dt: date = DT) -> RunRecord:
        return RunRecord.read(settings_of(self.var, *overrides), dt)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def publish(book: Book) -> None:
    for job in AUDIT_JOBS:
        book.write(job.name)


def test_an_interrupted_audit_goes_on(book: Book) -> None:
    assert book.read().done("digest-1") == {}
    book.write(INGEST)
    book.write(TRAIN)
    book.write(EXTRACT, outcome="running")
    assert book.read().done("digest-1") == {TRAIN: 2.0}
    book.write(INGEST, run="audit 2")  # each start ingests again
    book.write(EXTRACT, run="audit 2")
    assert book.read().done("digest-1") == {EXTRACT: 5.0, TRAIN: 2.0}
    assert book.read(dt=date(2026, 11, 21)).done("digest-1") == {}


def test_a_job_that_failed_after_it_was_done_runs_again(book: Book) -> None:
    book.write(TRAIN)
    book.write(TRAIN, outcome="failed")
    assert book.read().done("digest-1") == {}


def test_other_settings_begin_anew_as_do_the_first_after_them(book: Book) -> None:
    book.write(TRAIN)
    assert book.read("sae.k=9").done("digest-1") == {}
    book.write(TRAIN, overrides=("sae.k=9",))
    assert book.read("sae.k=9").done("digest-1") == {TRAIN: 2.0}
    assert book.read().done("digest-1") == {}


def test_other_code_begins_anew(book: Book) -> None:
    book.write(TRAIN, code="0.0.1")
    assert book.read().done("digest-1") == {}


def test_other_data_makes_every_job_run_again(book: Book) -> None:
    book.write(TRAIN)
    assert book.read().done("digest-2") == {}
    book.write(EXTRACT, data="digest-2")
    assert book.read().done("digest-2") == {EXTRACT: 2.0}
    assert book.read().done("digest-1") == {}  # data that came back: what was made of the others lies in the tables


def test_a_job_by_itself_does_nothing_for_an_audit_but_may_undo(book: Book) -> None:
    book.write(TRAIN)
    book.write(EXTRACT, data=None, run="by hand")
    book.write("maintain_tables", data=None, overrides=("maintenance.keep_nights=3",), run="by hand")
    book.write(INGEST, overrides=("sae.k=9",), run="by hand")  # the audit ingests again, and compares the data
    assert book.read().done("digest-1") == {TRAIN: 1.0}
    book.write(EXTRACT, data=None, overrides=("sae.k=9",), run="by hand")
    assert book.read().done("digest-1") == {}


def test_a_published_audit_is_not_gone_on_with(book: Book) -> None:
    publish(book)
    record = book.read()
    assert record.done("digest-1") == {}
    assert record.is_published()
    assert record.is_published("digest-1")
    assert not record.is_published("digest-2")
    assert not book.read(dt=date(2026, 11, 21)).is_published()
    assert not book.read("sae.k=9").is_published()
    assert record.seconds() == {job.name: float(number) for number, job in enumerate(AUDIT_JOBS, start=1) if number > 1}


def test_a_published_audit_without_its_page_goes_on_with_the_page(book: Book) -> None:
    for job in AUDIT_JOBS[:-1]:
        book.write(job.name)
    book.write("build_explorer", outcome="failed")
    book.write("build_explorer", data=None, overrides=("explorer.show_users=true",), run="by hand")
    before = {job.name for job in AUDIT_JOBS[1:-1]}
    assert set(book.read().done("digest-1")) == before
    assert book.read().done("digest-2") == {}
    book.write("build_explorer")
    assert book.read().done("digest-1") == {}
    for job in AUDIT_JOBS[1:]:  # of a scheduler, one by one
        book.write(job.name, data=None)
    book.write(TRAIN)
    assert set(book.read().done("digest-1")) == {TRAIN}


def test_a_refused_publication_replaces_an_earlier_one(book: Book) -> None:
    publish(book)
    book.write(TRAIN, overrides=("sae.k=9",))
    assert book.read().is_published()
    assert book.read().seconds()[TRAIN] == 2.0
    book.write("publish_audit", outcome="check failed", overrides=("sae.k=9",))
    assert not book.read().is_published()
    assert not book.read("sae.k=9").is_published()


def test_an_audit_has_started_with_its_first_job(book: Book) -> None:
    publish(book)
    book.write(TRAIN, overrides=("sae.k=9",))
    for run in ("audit 2", "audit 3"):  # goes on with it
        book.write(INGEST, run=run)
        book.write(TRAIN, run=run)
    assert book.read().started_at == "2026-11-20T01:17:00+00:00"


def test_jobs_of_one_run_are_one_audit_whatever_the_plan_sets(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, "nightly_audit scheduled")
    book.write(INGEST, run="another night")
    book.write(INGEST, run="nightly_audit scheduled")
    chosen = ("sae.version=champion",)
    book.write("publish_audit", data=None, outcome="running", run="nightly_audit scheduled", overrides=chosen)
    assert book.read(*chosen).started_at == "2026-11-20T01:01:00+00:00"


def test_without_a_book_an_audit_starts_now(book: Book) -> None:
    assert book.read().started_at > "2026-11-20"


def test_models_on_the_same_data_have_books_of_their_own(book: Book) -> None:
    book.write(TRAIN, overrides=("recommender.name=ranking",))
    assert book.read("recommender.name=retrieval").done("digest-1") == {}
    assert book.read("recommender.name=ranking").done("digest-1") == {TRAIN: 1.0}


def test_a_line_cut_off_costs_no_other_line(book: Book) -> None:
    book.write(TRAIN)
    path = book_path(book.var, "shop")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"job": "extract_representations", "names')
    book.write("recommend_items", outcome="running")
    assert [record.job for record in book.read().records] == [TRAIN, TRAIN, "recommend_items"]


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    assert read_book(path) == []
    good = '{"job": "a", "namespace": "shop", "dt": "2026-11-20", "started_at": "2026-11-20T01:00:00+00:00"}'
    no_dates = [good.replace("2026-11-20", "soon"), good.replace('"2026-11-20"', "1")]
    newer = good.replace("{", '{"of_a_newer_release": [1], ')
    bad = ['{"another": "release"}', "[1]", "7", "", *no_dates]
    path.write_bytes(b"\xff\n" + "\n".join([*bad, good, newer]).encode())
    assert read_book(path) == [JobRecord("a", "shop", "2026-11-20", "2026-11-20T01:00:00+00:00")] * 2


def test_nights_hold_the_latest_run_of_each_job() -> None:
    def record(
        job: str, dt: str = "2026-11-20", outcome: Outcome = "done", cause: str = "", seconds: float = 0.0
    ) -> JobRecord:
        return JobRecord(job, "shop", dt, "2026-11-20T01:00:00+00:00", seconds, outcome, cause)

    records = [
        record(INGEST, outcome="failed", cause="broken", seconds=5.0),
        record(INGEST, seconds=2.0),
        record(TRAIN, outcome="running"),
        record(TRAIN, outcome="check failed", cause="FVU", seconds=3.0),
        record(INGEST, dt="2026-11-19", seconds=1.0),
        record(INGEST, dt="2026-11-18"),
    ]
    nights = latest_nights(records, 2)
    assert [str(night.dt) for night in nights] == ["2026-11-20", "2026-11-19"]
    assert [(night.seconds, list(night.jobs)) for night in nights] == [(5.0, [INGEST, TRAIN]), (1.0, [INGEST])]
    assert [night.state() for night in nights] == [f"check failed: {TRAIN}", f"not begun: {TRAIN}"]
    assert [night.cause() for night in nights] == ["FVU", ""]
    killed = Night(DT, {INGEST: record(INGEST, outcome="running")})
    assert killed.state().startswith("running, or killed, since 2026-11-")


def test_a_job_that_later_ones_did_not_need_is_no_gap() -> None:
    def night(*jobs: str) -> Night:
        return Night(DT, {job: JobRecord(job, "shop", "2026-11-20", "", outcome="done") for job in jobs})

    # The data were ingested for another model, and the recommender is registered.
    without_ingestion = [job.name for job in AUDIT_JOBS if job.name not in (INGEST, TRAIN)]
    assert night(*without_ingestion).state() == "published"
    assert night(*without_ingestion[:-1]).state() == "published"
    failed = JobRecord("build_explorer", "shop", "2026-11-20", "", outcome="failed")
    without_page = night(*without_ingestion).jobs | {failed.job: failed}
    assert Night(DT, without_page).state() == "published; failed: build_explorer"
    assert night(EXTRACT).state() == "not begun: recommend_items"
    assert night("maintain_tables").state() == f"not begun: {INGEST}"


def test_files_of_an_earlier_release_are_read_or_removed(book: Book) -> None:
    path, record = book_path(book.var, "shop"), book.var / "runs" / "shop" / "2026-11-20.json"
    for file, content in ((path, OLD_BOOK), (record, OLD_RUN_RECORD), (record.with_suffix(".writing"), "{")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    (night,) = latest_nights(read_book(path), 7)
    assert (night.state(), night.cause(), night.seconds) == (f"failed: {TRAIN}", "ValueError: no", 10.5)
    assert night.jobs[TRAIN].model_version == 2
    assert book.read().done("0123456789abcdef") == {}
    assert not book.read().is_published()
    book.write(TRAIN)
    assert book.read().done("digest-1") == {TRAIN: 1.0}
    assert migrate_books(book.var) == [f"{book.var}/runs: 2 run records of an earlier release removed"]
    assert not (book.var / "runs").exists()
    assert migrate_books(book.var) == []
    assert path.read_text(encoding="utf-8").startswith(OLD_BOOK)
