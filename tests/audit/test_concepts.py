"""`recsae concepts` on a whole audit: without Java, by Spark, and what each of its options leaves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsae_lib.cli import concepts as command
from recsae_lib.platform.warehouse import tables
from tests.planted import FEATURES
from tests.workspace import DT, Workspace

pytestmark = pytest.mark.integration

LOADED = (
    "import sys; from recsae_lib.cli.main import main\n"
    "try: main()\n"
    "finally: print(sorted({'pyspark', 'py4j', 'torch', 'mlflow'} & set(sys.modules)), file=sys.stderr)"
)


@pytest.fixture
def conf(audited: Workspace) -> list[str]:
    return ["--conf", str(audited.folder / "conf" / "planted.yaml")]


@pytest.fixture
def catalog(audited: Workspace, tmp_path: Path) -> list[str]:
    """What tells the tests' process of the catalog, whose session knows it by other ways."""
    properties, name = tmp_path / "catalog.conf", f"spark.sql.catalog.{audited.catalog}"
    properties.write_text(f"{name}.type hadoop\n{name}.warehouse {audited.folder}/var/warehouse\n", "utf-8")
    return ["--set", f"spark.properties={properties}"]


def rows(workspace: Workspace, table: tables.Table) -> list[dict[str, Any]]:
    return [row.asDict() for row in workspace.warehouse().read_published(table).collect()]


def shown(text: str) -> list[int]:
    return [int(latent) for latent in re.findall(r"^latent (\d+): ", text, re.M)]


def test_both_readers_print_the_same(
    audited: Workspace,
    conf: list[str],
    catalog: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linked, pushed = rows(audited, tables.LATENT_ITEMS)[0], rows(audited, tables.LATENT_EFFECTS)
    up = next(row["item_id"] for row in pushed if row["kind"] == "item")
    asked = [
        ["--top", "1000"],
        ["--dt", DT.isoformat(), "--top", "3"],
        ["--latent", str(linked["latent_id"])],
        ["--search", FEATURES[1].upper()],
        ["--search", "none has it"],
        ["--item", up],
        ["--item", linked["item_id"], "--search", "o", "--top", "2"],
    ]
    for options in asked:
        assert audited.recsae_here("concepts", *conf, *options) == 0
    by_spark = capsys.readouterr().out
    monkeypatch.setattr(command, "_open_by_spark", None)
    for options in asked:
        assert audited.recsae_here("concepts", *conf, *catalog, *options) == 0
    assert capsys.readouterr().out == by_spark
    assert by_spark.count(f"Concepts of planted, dt={DT}, SAE version ") == len(asked)
    assert f"Item {up}" in by_spark
    assert "\n0 with 'none has it' in label, description or terms\n" in by_spark


def test_no_java_starts_for_concepts_in_a_folder(audited: Workspace) -> None:
    command = [sys.executable, "-c", LOADED, "concepts", "--conf", "conf/planted.yaml", "--search", FEATURES[0]]
    done = subprocess.run(command, cwd=audited.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert FEATURES[0] in done.stdout


def test_search_finds_labels_and_terms_whatever_the_case(
    audited: Workspace, conf: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = FEATURES[2]
    terms = rows(audited, tables.CONCEPT_TERMS)
    holding = {row["latent_id"] for row in terms if row["significant"] and text in row["term"].lower()}
    for row in rows(audited, tables.CONCEPTS):
        if text in row["label"].lower() or text in row["description"].lower():
            holding.add(row["latent_id"])
    assert holding
    assert audited.recsae_here("concepts", *conf, "--search", text.upper(), "--top", "1000") == 0
    assert set(shown(capsys.readouterr().out)) == holding
    for harmless in ("%", "_", "\\", "') OR true --", "\x1b[2J"):
        assert audited.recsae_here("concepts", *conf, "--search", harmless) == 0
        out = capsys.readouterr().out
        assert shown(out) == []
        assert "\x1b" not in out


def test_an_item_has_its_concepts_and_the_way_they_push_it(
    audited: Workspace, conf: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pushed = [row for row in rows(audited, tables.LATENT_EFFECTS) if row["kind"] == "item"]
    item = min(row["item_id"] for row in pushed if row["rank"] < 0)
    ways = {row["latent_id"]: "up" if row["rank"] > 0 else "down" for row in pushed if row["item_id"] == item}
    linked = {row["latent_id"]: row for row in rows(audited, tables.LATENT_ITEMS) if row["item_id"] == item}
    live = {row["latent_id"] for row in rows(audited, tables.CONCEPTS)}
    assert audited.recsae_here("concepts", *conf, "--item", item, "--top", "1000") == 0
    out = capsys.readouterr().out
    assert set(shown(out)) == (ways.keys() | linked.keys()) & live
    for part in re.split(r"^latent (?=\d+: )", out, flags=re.M)[1:]:
        latent = int(part.partition(":")[0])
        assert ("linked to the item (rank " in part) == (latent in linked)
        assert re.findall(r"pushes the item (\w+)", part) == ([ways[latent]] if latent in ways else [])
    assert audited.recsae_here("concepts", *conf, "--item", "no'such") == 2
    assert "There is no item no'such in planted" in capsys.readouterr().err
