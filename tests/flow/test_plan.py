from __future__ import annotations

import json
import socket
from datetime import date
from typing import Any

import pytest

from recsae_lib.config import load_settings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.flow.audit import plan_audit
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import Retrain
from recsae_lib.platform.spark.submission import submit_options
from tests.workspace import REPOSITORY

DT = date(2026, 11, 20)


class Registered:
    """A registry with these aliases and numbers of each model, and the recommender that each SAE was trained on."""

    def __init__(self, versions: dict[str, dict[str | int, int]], trained_on: dict[int, int] | None = None) -> None:
        self.known, self.trained_on = versions, trained_on or {}

    def resolve(self, name: str, selector: str | int) -> int:
        try:
            return self.known[name][selector]
        except KeyError:
            raise InputError(f"no {selector} of {name}", "train it") from None

    def tags(self, name: str, version: int) -> dict[str, str]:
        return {"model_version": str(self.trained_on[version])}


def plan(registry: Registered, *overrides: str, retrain: Retrain = "nothing") -> dict[str, Any]:
    context = JobContext("plan", load_settings(None, {"namespace": "shop"}, list(overrides)), DT)
    context.shared.registry = registry
    return plan_audit(context, retrain)


def trainings(plan: dict[str, Any]) -> tuple[bool, bool, list[str]]:
    return plan["train_recommender"], plan["train_sae"], plan["settings"]


RECOMMENDER: dict[str, dict[str | int, int]] = {"recommender-shop": {"candidate": 2, "latest": 2}}


def test_the_first_night_trains_everything() -> None:
    assert trainings(plan(Registered({}))) == (True, True, [])


def test_an_sae_is_chosen_where_an_automatic_sweep_trains_some() -> None:
    trained = Registered({**RECOMMENDER, "recsae-shop": {"candidate": 1}}, {1: 2})
    assert plan(Registered({}), "sae.sweep=auto")["choose_sae"] is True
    assert plan(Registered({}))["choose_sae"] is False
    assert plan(trained, "sae.sweep=auto")["choose_sae"] is False


def test_a_night_tunes_where_there_are_tunings() -> None:
    assert plan(Registered({}))["tune_recommendations"] is False
    tunings = "tunings=[{name: less, latents: [3], strength: -1.0}]"
    assert plan(Registered({}), tunings)["tune_recommendations"] is True


def test_an_outage_of_mlflow_is_no_first_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settings = load_settings(None, {"namespace": "shop"}, [f"paths.tracking_uri={address}"])
        with pytest.raises(PassingError, match=f"MLflow at {address} does not answer"):
            plan_audit(JobContext("plan", settings, DT))


def test_a_later_night_reads_the_champion_not_what_was_refused() -> None:
    registry = Registered({**RECOMMENDER, "recsae-shop": {"candidate": 6, "champion": 5}}, {5: 2, 6: 2})
    assert trainings(plan(registry)) == (False, False, ["sae.version=champion"])


def test_without_a_champion_the_candidate_serves() -> None:
    registry = Registered({**RECOMMENDER, "recsae-shop": {"candidate": 6}}, {6: 2})
    assert trainings(plan(registry)) == (False, False, [])


def test_a_new_version_of_the_recommender_needs_a_new_sae() -> None:
    registry = Registered({**RECOMMENDER, "recsae-shop": {"candidate": 5, "champion": 5}}, {5: 1})
    assert trainings(plan(registry)) == (False, True, [])


def test_every_site_must_have_the_version() -> None:
    aliases: dict[str, dict[str | int, int]] = {"recsae-shop": {"champion": 5, "candidate": 5}}
    sites = "representations.sites=[last, blocks.0]"
    half = Registered({**RECOMMENDER, **aliases}, {5: 2, 7: 2})
    assert trainings(plan(half, sites)) == (False, True, [])
    whole = Registered({**half.known, "recsae-shop__blocks_0": {"champion": 7, "candidate": 7}}, half.trained_on)
    both = plan(whole, sites)
    assert trainings(both) == (False, False, ["sae.version=champion"])
    assert both["namespaces"] == ["shop", "shop__blocks_0"]
    assert both["reports"] == ["var/reports/shop/2026-11-20", "var/reports/shop__blocks_0/2026-11-20"]


def test_a_plan_names_the_jobs_in_order_and_those_with_steps() -> None:
    jobs = plan(Registered({}))["jobs"]
    assert len(jobs) == 16
    assert jobs[0] == {"name": "ingest_dataset", "steps": False}
    assert jobs[-1] == {"name": "build_explorer", "steps": False}
    assert [job["name"] for job in jobs if job["steps"]] == ["interpret_concepts", "verify_concepts"]


def test_what_is_to_be_trained_again_is_read_as_candidate() -> None:
    registry = Registered({**RECOMMENDER, "recsae-shop": {"candidate": 5, "champion": 5, 4: 4}}, {4: 2, 5: 2})
    assert trainings(plan(registry, retrain="sae")) == (False, True, [])
    assert trainings(plan(registry, retrain="all")) == (True, True, [])
    assert trainings(plan(registry, "sae.version=4")) == (False, False, [])
    assert trainings(plan(registry, "sae.version=4", retrain="sae")) == (False, True, ["sae.version=candidate"])


@pytest.mark.parametrize(
    ("setting", "asks"),
    [
        ("interpretation.interpreter=terms", (False, False)),
        ("interpretation.interpreter=llm", (True, False)),
        ("verification.judges=[terms, llm]", (False, True)),
    ],
)
def test_a_plan_says_which_jobs_ask_a_language_model(setting: str, asks: tuple[bool, bool]) -> None:
    planned = plan(Registered({}), setting)
    assert (planned["interpret_concepts_asks"], planned["verify_concepts_asks"]) == asks
    assert json.loads(json.dumps(planned)) == planned


def test_spark_submit_is_told_of_master_java_and_warehouse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    properties = REPOSITORY / "conf" / "spark" / "local.conf"
    options = submit_options(properties)
    assert options["master"] == "local[2]"
    assert options["properties"] == {"spark.sql.catalog.recsae.warehouse": f"{REPOSITORY}/var/warehouse"}
    assert options["jobs"] == f"{REPOSITORY}/jobs"
    assert options["jars"].endswith(".jar")
    assert options["environment"]["JAVA_HOME"]
    with pytest.raises(InputError, match=r"nowhere\.conf"):
        submit_options(properties.with_name("nowhere.conf"))
