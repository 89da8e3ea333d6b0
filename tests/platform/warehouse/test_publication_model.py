"""Publication as a whole: runs that take turns commit by commit, are killed, run again, held against a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse import publications as listing
from recsae_lib.platform.warehouse.publishing import complete_publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.read_point import read_point, read_point_as_of, read_point_of
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_ATTEMPTS, AUDITS, CONCEPT_RATINGS
from recsae_lib.ratings.exchange import replace_ratings
from tests.interleaving import Run, take_turns
from tests.publication_model import Audit, Seen, as_of, last_of_each, now, of_date
from tests.tiny_audits import (
    OWN,
    ROWS,
    SHARED,
    Aliases,
    Attempt,
    Contents,
    as_versions,
    make_tiny,
    remove_date,
    rows_seen,
    run_last_job,
    write,
)

STEPS = 2000
SQL_EVERY = 40  # steps; at each of the others rows are read as Iceberg's records, once for each snapshot
DATES = tuple(date(2026, 11, day) for day in (23, 24, 25))
MODELS = ("bpr", "sasrec")  # on the same data
RATERS = ("ada", "bob")


@dataclass(eq=False)
class Import:
    """An import of what a person says of the concepts of a model."""

    model: str
    rater: str
    rating: int
    run: Run = field(init=False)


@dataclass(eq=False)
class Upkeep:
    """The upkeep of a model's tables that removes a date; it keeps all others from this date."""

    model: str
    dt: date
    ingests: bool = True
    run: Run = field(init=False)


class Protocol(RuleBasedStateMachine):
    """Audits of two models on the same data."""

    spark: ClassVar[SparkSession]
    steps: ClassVar[int] = 0
    numbers: ClassVar[Iterator[int]] = count(1)
    contents: ClassVar[Contents]

    def __init__(self) -> None:
        super().__init__()
        self.name, self.versions, self.registry = f"model_{next(self.numbers)}", count(1), Aliases()
        self.is_right = True
        self.runs: list[Attempt | Import | Upkeep] = []
        self.audits: dict[str, list[Audit]] = {model: [] for model in MODELS}
        self.announced: dict[str, list[Audit]] = {model: [] for model in MODELS}
        self.data: dict[date, int | None] = dict.fromkeys(DATES)  # which version was ingested, wholly
        self.written: dict[tuple[str, date], tuple[int, int]] = {}  # version and data of all tables of an audit
        self.ratings: dict[str, dict[str, int]] = {model: {} for model in MODELS}
        for table in (*SHARED, *OWN, AUDITS, AUDIT_ATTEMPTS, CONCEPT_RATINGS):
            for model in MODELS:
                self.warehouse(model).ensure(table)

    def warehouse(self, model: str, dt: date = DATES[-1]) -> Warehouse:
        own = f"{self.name}__{model}"
        return Warehouse(self.spark, "recsae", {"data": self.name, "model": own, "audit": own}, dt)

    # What begins, goes on and ends

    @initialize(model=st.sampled_from(MODELS), dt=st.sampled_from(DATES))
    def start_first(self, model: str, dt: date) -> None:
        """Start an audit that is not refused."""
        self.start(model, dt, ingests=True, outcome=0)

    @precondition(lambda self: len(self.runs) < 3)
    @rule(model=st.sampled_from(MODELS), dt=st.sampled_from(DATES), ingests=st.booleans(), outcome=st.integers(0, 4))
    def start(self, model: str, dt: date, ingests: bool, outcome: int) -> None:
        """Start an audit: with new data, or with those that another model has ingested; one of five is refused."""
        ingests = ingests or self.data[dt] is None
        if self.is_held(model, dt, alone=ingests):
            return
        attempt = Attempt(model, self.warehouse(model, dt), self.registry, next(self.versions), ingests, outcome == 4)
        self.written.pop((model, dt), None)
        if ingests:
            self.data[dt] = None

        def audit() -> None:
            if ingests:
                complete_publications(attempt.warehouse)
                write(attempt, SHARED)
                self.data[dt] = attempt.version
            write(attempt, OWN)
            data = self.data[dt]
            assert data is not None
            self.written[model, dt] = attempt.version, data
            run_last_job(attempt)

        attempt.run = Run(audit)
        self.runs.append(attempt)

    @precondition(lambda self: len(self.runs) < 3 and self.written)
    @rule(which=st.integers(0, 9))
    def start_last_job(self, which: int) -> None:
        """Start the job that publishes: of an audit whose tables are all written, published or not."""
        (model, dt), (version, data) = list(self.written.items())[which % len(self.written)]
        if data == self.data[dt] and not self.is_held(model, dt):
            attempt = Attempt(model, self.warehouse(model, dt), self.registry, version)
            attempt.run = Run(lambda: run_last_job(attempt))
            self.runs.append(attempt)

    @precondition(lambda self: len(self.runs) < 3)
    @rule(model=st.sampled_from(MODELS), rater=st.sampled_from(RATERS), rating=st.integers(1, 4))
    def rate(self, model: str, rater: str, rating: int) -> None:
        """Import what a person says; another one may import at the same time."""
        if (model, rater) in {(run.model, run.rater) for run in self.runs if isinstance(run, Import)}:
            return
        ratings = Import(model, rater, rating)
        rows = [("sample", 1, "case", "concept", 1, rater, rating)]
        ratings.run = Run(lambda: replace_ratings(self.warehouse(model), rows) and None)
        self.runs.append(ratings)

    @precondition(lambda self: len(self.runs) < 3)
    @rule(model=st.sampled_from(MODELS), dt=st.sampled_from(DATES[:-1]))
    def maintain(self, model: str, dt: date) -> None:
        """Remove a date that is neither the newest nor that of the last publication."""
        known = self.audits[model]
        last = last_of_each(known)
        if dt in last and dt not in (max(last), known[-1].dt) and not self.is_held(model, dt, alone=True):
            self.written.pop((model, dt), None)
            upkeep = Upkeep(model, dt)
            upkeep.run = Run(lambda: remove_date(self.warehouse(model, dt)))
            self.runs.append(upkeep)

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2), times=st.integers(1, 12), until_look=st.booleans())
    def resume(self, which: int, times: int, until_look: bool) -> None:
        """Let a run take some steps, the last one perhaps only as far as its look at a table."""
        run = self.runs[which % len(self.runs)]
        for left in range(times, 0, -1):
            if run in self.runs:
                self.step(run, until_look and left == 1)

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2), times=st.integers(10, 40))
    def resume_for_long(self, which: int, times: int) -> None:
        """Let a run take many steps, perhaps to its end."""
        self.resume(which, times, until_look=False)

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 9))
    def kill(self, which: int) -> None:
        """End a run where it stands; often nothing happens."""
        if which >= len(self.runs):
            return
        run = self.runs.pop(which)
        run.run.kill()
        if isinstance(run, Import):  # nobody knows whether it is in the table
            self.ratings[run.model].pop(run.rater, None)

    def teardown(self) -> None:
        """Let all that runs come to its end, start something once more, and look at what only then must be right."""
        while self.runs and self.is_right:
            self.step(self.runs[0])
        for model in MODELS if self.is_right else ():
            complete_publications(self.warehouse(model))
            self.look(None)
            self.look_at_main(model)
            self.look_by_sql(model)

    # What must be right

    def step(self, run: Attempt | Import | Upkeep, until_look: bool = False) -> None:
        """One step, and a look at everything."""
        Protocol.steps += 1
        try:
            run.run.resume(until_look)
            self.look(run)
        except BaseException as error:
            self.is_right = False
            print(f"Wrong after step {Protocol.steps}: {str(error).strip()}")  # Hypothesis repeats the last ones
            raise
        if run.run.is_over:
            self.runs.remove(run)
            if isinstance(run, Import):
                self.ratings[run.model][run.rater] = run.rating
            elif isinstance(run, Attempt) and not run.refused:
                published = last_of_each(self.audits[run.model])
                assert published[run.dt].version == run.version
                if run.dt == max(published):  # else the champion waits for the run of a newer audit
                    self.announced[run.model].append(published[run.dt])
        if Protocol.steps % SQL_EVERY == 0:
            self.look_by_sql(run.model)

    def look(self, run: Attempt | Import | Upkeep | None) -> None:
        """Compare what readers see with the model, into which a publication of the run is taken."""
        self.contents.looks = True
        try:
            for model in MODELS:
                self.look_at_model(model, run if run is not None and run.model == model else None)
        finally:
            self.contents.looks = False

    def look_at_model(self, model: str, run: Attempt | Import | Upkeep | None) -> None:
        warehouse, known = self.warehouse(model), self.audits[model]
        found = listing.publications(warehouse)
        if isinstance(run, Attempt) and not run.refused and len(found) > len(known):
            data = self.data[run.dt]
            assert data is not None
            known.append(Audit(len(known) + 1, run.dt, run.version, data))
        # A date may have been removed before, and audited again: what was kept until now says whether it goes.
        both = [(audit, listed) for audit, listed in zip(known, found, strict=False) if audit.kept]
        if isinstance(run, Upkeep) and any(audit.dt == run.dt and not listed.kept for audit, listed in both):
            known[:] = [replace(audit, kept=audit.kept and audit.dt != run.dt) for audit in known]
        assert [(p.number, p.dt, p.sae_version, p.kept) for p in found] == [
            (audit.number, audit.dt, audit.version, audit.kept) for audit in known
        ]
        self.compare(self.contents.seen(warehouse, read_point(found)), now(known), "now")
        for dt in DATES:
            self.compare(self.contents.seen(warehouse, read_point_as_of(found, dt)), as_of(known, dt), f"as of {dt}")
            assert self.contents.seen(warehouse, read_point_of(found, dt)) == of_date(known, dt), f"of {dt}"
        self.look_at_champion(model)
        self.look_at_ratings(model)

    def compare(self, seen: Seen, expected: Seen, when: str) -> None:
        assert seen == expected, when

    def look_at_champion(self, model: str) -> None:
        champion, known = self.registry.champions.get(model), self.audits[model]
        order = [(audit.dt, audit.number) for audit in known if audit.version == champion]
        assert champion is None or order, "the champion is published"
        least = max(((audit.dt, audit.number) for audit in self.announced[model]), default=None)
        assert least is None or (order and max(order) >= least), f"the champion is no older than {least}"

    def look_at_ratings(self, model: str) -> None:
        warehouse = self.warehouse(model)
        main = warehouse.references(CONCEPT_RATINGS).get("main")
        rows = [] if main is None else self.contents.rows(warehouse, CONCEPT_RATINGS, main)
        under_way = {run.rater for run in self.runs if isinstance(run, Import) and run.model == model}
        for rater, rating in self.ratings[model].items():
            assert rater in under_way or (rater, str(rating)) in rows, f"{rater} has rated"

    def look_at_main(self, model: str) -> None:
        """Engines that know nothing of `audits` find the same, once all is complete; and the tags are right."""
        warehouse, known = self.warehouse(model), self.audits[model]
        for table in OWN:
            references = warehouse.references(table)
            rows = self.contents.rows(warehouse, table, references["main"]) if "main" in references else []
            dates = set(last_of_each(known))
            assert {row for row in as_versions(rows) if row[0] in dates} == now(known).own
            for publication in filter(lambda publication: publication.kept, listing.publications(warehouse)):
                tag = f"published-{self.name}__{model}-{publication.dt}-{publication.number}"
                assert references.get(tag) == publication.snapshots[table.name], tag

    def look_by_sql(self, model: str) -> None:
        rows = run_query(self.warehouse(model), ROWS).collect()
        self.compare(rows_seen(rows), now(self.audits[model]), "by SQL")

    def is_held(self, model: str, dt: date, alone: bool = False) -> bool:
        """Whether locks keep a run from starting: data are ingested by one alone, read by several."""
        of_date = [run for run in self.runs if not isinstance(run, Import) and run.dt == dt]
        return any(alone or run.ingests or run.model == model for run in of_date)


def test_readers_see_whole_audits_whatever_runs(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    first_seed = int(request.config.getoption("randomly_seed"))
    print(f"This repeats it: pytest '{request.node.nodeid}' --randomly-seed={first_seed}")
    contents = Contents()
    take_turns(monkeypatch)
    make_tiny(monkeypatch)
    contents.install(monkeypatch)
    monkeypatch.setattr(Protocol, "spark", spark, raising=False)
    monkeypatch.setattr(Protocol, "contents", contents, raising=False)
    Protocol.steps = 0
    for number in count(first_seed):
        run_state_machine_as_test(
            seed(number)(Protocol),
            settings=settings(
                max_examples=4,
                stateful_step_count=80,
                deadline=None,
                database=None,
                phases=(Phase.generate,),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if Protocol.steps >= STEPS:
            break
