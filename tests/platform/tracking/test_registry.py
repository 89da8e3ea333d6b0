from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.runs import TrainingRun
from tests.object_storage import object_storage
from tests.stored_models import write_stored
from tests.workspace import REPOSITORY, write_mlflow_database

TAGS = {"job": "train_recommender", "namespace": "shop", "dt": "2026-11-20"}


@pytest.fixture(scope="module", params=["folder", "s3"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("mlflow")
    write_mlflow_database(folder / "mlflow.db")
    place = object_storage("mlflow") if request.param == "s3" else nullcontext(str(folder))
    with place as root:
        yield Registry(f"sqlite:///{folder}/mlflow.db", f"{root}/artifacts", folder / "models")


def register(registry: Registry, run: TrainingRun, name: str, folder: Path, tags: dict[str, str] | None = None) -> int:
    digest = write_stored(folder, f"{name} {folder.name}")
    return registry.register_recommender(run, name, folder, digest, tags or {})


def test_the_same_weights_are_the_same_version(registry: Registry, tmp_path: Path) -> None:
    versions = []
    for folder in ("one", "two", "one"):
        with registry.training_run("shop", TAGS, {"k": 8}) as run:
            run.log_metrics({"test_ndcg@10": 0.125})
            versions.append(register(registry, run, "recommender-shop", tmp_path / folder))
    assert versions == [1, 2, 1]
    assert registry.metrics("recommender-shop", 1) == {"test_ndcg_at_10": 0.125}


def test_selectors_become_numbers(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", TAGS, {}) as run:
        for number in ("1", "2"):
            register(registry, run, "selectors", tmp_path / number)
    registry.set_alias("selectors", "candidate", 1)
    assert [registry.resolve("selectors", s) for s in ("latest", "candidate", 2)] == [2, 1, 2]
    with pytest.raises(InputError, match=r"no version 'champion' of selectors \(there are: 2, 1 candidate\)"):
        registry.resolve("selectors", "champion")
    with pytest.raises(InputError, match="there are: none"):
        registry.resolve("unknown", "latest")


def test_fetched_files_are_those_registered(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", TAGS, {}) as run:
        register(registry, run, "fetched", tmp_path / "m")
    for _ in range(2):
        folder = registry.fetch("fetched", 1)
        assert (folder / "weights.safetensors").read_text(encoding="utf-8") == "fetched m"
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".fetching")] == []


def test_a_failed_run_is_marked_and_an_abandoned_one_is_closed(registry: Registry) -> None:
    tags = TAGS | {"dt": "2026-11-21"}
    experiment = "abandoned"

    def fail() -> None:
        with registry.training_run(experiment, tags, {}):
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        fail()
    killed = registry.training_run(experiment, tags, {})
    killed.__enter__()  # a killed process never leaves the block
    with registry.training_run(experiment, tags, {}):
        pass
    identity = registry.client.get_experiment_by_name(experiment).experiment_id
    assert sorted(run.info.status for run in registry.client.search_runs([identity])) == [
        "FAILED",
        "FINISHED",
        "KILLED",
    ]


def test_runs_say_who_what_and_the_experiment_its_kind(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "setup.py")])  # whose repository MLflow would name
    experiment = "said"
    registry.client.create_experiment(experiment)  # as an earlier release left it
    with registry.training_run(experiment, TAGS, {}) as run:
        run.describe("A *run*.")
        with run.nested("inner", {}) as inner:
            pass
    for one in (run, inner):
        tags = registry.client.get_run(one.run_id).data.tags
        assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("jobs/train_recommender.py", "JOB")
        assert tags["mlflow.user"] == getpass.getuser()
        assert not [tag for tag in tags if "git" in tag]
    assert registry.client.get_run(run.run_id).data.tags["mlflow.note.content"] == "A *run*."
    with registry.training_run("new", TAGS, {}):
        pass
    kinds = [registry.client.get_experiment_by_name(name).tags["mlflow.experimentKind"] for name in (experiment, "new")]
    assert kinds == ["custom_model_development"] * 2
    found = registry.client.get_experiment_by_name(experiment)
    registry.client.set_experiment_tag(found.experiment_id, "mlflow.experimentKind", "regression")
    with registry.training_run(experiment, TAGS, {}):
        pass
    assert registry.client.get_experiment_by_name(experiment).tags["mlflow.experimentKind"] == "regression"


def test_an_address_that_does_not_answer_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot open MLflow at nonsense://"):
        Registry("nonsense://nowhere", str(tmp_path), tmp_path)


def test_promotion_keeps_the_previous_champion_and_can_be_undone(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", TAGS, {}) as run:
        for number in ("1", "2", "3"):
            register(registry, run, "promoted", tmp_path / number, {"dt": "2026-11-20"})

    def aliases() -> dict[str, int]:
        return {alias: version.number for version in registry.versions("promoted") for alias in version.aliases}

    assert registry.promote("promoted", 1) is None
    assert aliases() == {"champion": 1}
    assert registry.promote("promoted", 3) == 1
    assert registry.promote("promoted", 3) == 3
    assert aliases() == {"champion": 3, "previous": 1}
    assert registry.promote("promoted", registry.resolve("promoted", "previous")) == 3
    assert aliases() == {"champion": 1, "previous": 3}


def test_tags_of_a_version_are_added(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", TAGS, {}) as run:
        register(registry, run, "tagged", tmp_path / "tagged", {"dt": "2026-11-20"})
    registry.set_tags("tagged", 1, {"audit_status": "failed"})
    registry.set_tags("tagged", 1, {"audit_status": "published"})
    assert {"dt": "2026-11-20", "audit_status": "published"}.items() <= registry.tags("tagged", 1).items()


def test_a_report_is_beside_its_version_and_a_later_replaces_it(registry: Registry, tmp_path: Path) -> None:
    with registry.training_run("shop", TAGS, {}) as run:
        register(registry, run, "reported", tmp_path / "reported")
    file, folder = tmp_path / "checks.json", "audits/2026-11-20"
    for content in ("[1]", "[2]"):
        file.write_text(content, encoding="utf-8")
        registry.keep_report("reported", 1, file, folder)
    assert [kept.path for kept in registry.client.list_artifacts(run.run_id, folder)] == [f"{folder}/checks.json"]
    fetched = registry.client.download_artifacts(run.run_id, f"{folder}/checks.json", str(tmp_path))
    assert Path(fetched).read_text("utf-8") == "[2]"
    with pytest.raises(InputError, match="no version 2 of reported"):
        registry.keep_report("reported", 2, file, folder)
