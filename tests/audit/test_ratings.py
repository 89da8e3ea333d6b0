"""Human rating from a published audit and back: export, page, files of raters, import, report."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from recsae_lib.errors import InputError
from recsae_lib.human_rating import export_ratings, import_ratings, report_ratings
from recsae_lib.warehouse import tables
from tests.workspace import DT, Workspace

pytestmark = pytest.mark.integration

Audited = tuple[Workspace, CompletedProcess[str]]


@pytest.fixture(scope="module")
def exported(audited: Audited) -> tuple[Workspace, Path, Path]:
    """The workspace, the page and the sheet that the command has written."""
    workspace, command = audited
    assert command.returncode == 0, command.stderr
    answer = workspace.recsae("ratings", "export", "--conf", "conf/planted.yaml", "--concepts", "12")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"^\d+ cases: 12 of \d+ concepts with a label", answer.stdout)
    page, sheet = (workspace.folder / line for line in answer.stdout.splitlines()[-2:])
    return workspace, page, sheet


def cases_of(page: Path) -> tuple[str, list[dict[str, Any]]]:
    text = page.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="cases">(.*?)</script>', text, re.DOTALL)
    (sample,) = re.findall(r'data-sample="(\w+)"', text)
    return sample, json.loads(data)


def key_of(workspace: Workspace) -> dict[str, Any]:
    return {row["case_id"]: row for row in workspace.warehouse().read_published(tables.RATING_SAMPLES).collect()}


def write_file(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sample", "case", "rater", "rating"), *rows])
    return path


def honest(workspace: Workspace) -> dict[str, int]:
    """What a rater says who sees a wrong label, and finds interpretable concepts better than others."""
    return {
        case_id: 1 if row["kind"] == "wrong_label" else 4 if row["interpretable"] else 2
        for case_id, row in key_of(workspace).items()
    }


def stored(workspace: Workspace) -> dict[tuple[str, str], int]:
    rows = workspace.warehouse().read_published(tables.CONCEPT_RATINGS).collect()
    return {(row["rater"], row["case_id"]): row["rating"] for row in rows}


def snapshots(workspace: Workspace, table: tables.Table) -> int:
    return workspace.spark.table(f"{workspace.warehouse().full_name(table)}.snapshots").count()


def test_page_sheet_and_key_hold_the_same_cases(exported: tuple[Workspace, Path, Path]) -> None:
    workspace, page, sheet = exported
    sample, cases = cases_of(page)
    key = key_of(workspace)
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))
    in_order = [case_id for case_id, _ in sorted(key.items(), key=lambda entry: entry[1]["place"])]
    assert in_order == [case["case"] for case in cases] == [row["case"] for row in rows]
    assert {row["sample"] for row in key.values()} == {row["sample"] for row in rows} == {sample}
    kinds = [row["kind"] for row in key.values()]
    assert (kinds.count("concept"), kinds.count("repeat"), kinds.count("wrong_label")) == (12, 3, 3)
    concepts = {row["latent_id"]: row for row in workspace.warehouse().read_published(tables.CONCEPTS).collect()}
    for case in cases:
        row = key[case["case"]]
        assert case["label"] == concepts[row["label_latent_id"]]["label"]
        assert row["interpretable"] == concepts[row["latent_id"]]["interpretable"]
        assert case["terms"]
        assert 1 <= len(case["items"]) <= 10
        if row["kind"] == "wrong_label":
            assert case["label"] != concepts[row["latent_id"]]["label"]
    labelled = [row for row in concepts.values() if row["status"] == "labelled"]
    assert sum({row["stratum"]: row["stratum_concepts"] for row in key.values()}.values()) <= len(labelled)


def test_the_same_sample_is_drawn_again_and_another_stands_beside_it(exported: tuple[Workspace, Path, Path]) -> None:
    workspace, page, sheet = exported
    before = page.read_bytes(), sheet.read_bytes(), key_of(workspace)
    export_ratings(workspace.context("ratings"), 12, exact_dt=DT)
    files = sorted(page.parent.glob("ratings-*"))
    assert files == sorted([page, sheet])
    assert (page.read_bytes(), sheet.read_bytes(), key_of(workspace)) == before
    export_ratings(workspace.context("ratings", "seed=7"), 12, exact_dt=DT)
    assert len(list(page.parent.glob("ratings-*"))) == 4
    key = workspace.warehouse().read_published(tables.RATING_SAMPLES)
    assert key.select("sample").distinct().count() == 2


def test_files_of_raters_become_ratings_and_figures(
    exported: tuple[Workspace, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, page, sheet = exported
    sample, cases = cases_of(page)
    says = {case["case"]: honest(workspace)[case["case"]] for case in cases}
    context = workspace.context("ratings")

    anna = write_file(tmp_path / "anna.csv", *((sample, case, "anna", rating) for case, rating in says.items()))
    asleep = write_file(tmp_path / "asleep.csv", *((sample, case, "asleep", 4) for case in says))
    bert = tmp_path / "bert.csv"  # fills the sheet, and leaves one out
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))
    with bert.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        for place, row in enumerate(rows):
            writer.writerow(row | {"rater": "bert", "rating": "" if place == 0 else max(1, says[row["case"]] - 1)})
    bad = write_file(
        tmp_path / "bad.csv",
        (sample, cases[0]["case"], "dora", 5),
        ("s123456789abcdef", cases[0]["case"], "dora", 3),
        (sample, cases[1]["case"], "dora", 2),
    )
    import_ratings(context, [anna, asleep, bert, bad, anna], exact_dt=None)
    printed = capsys.readouterr().out
    assert f"anna: {len(cases)} ratings of sample {sample}\n" in printed
    assert "1 rows have no rating yet" in printed
    assert "refused 1 of bad.csv: the rating is not 1, 2, 3 or 4" in printed
    expected = {("anna", case): rating for case, rating in says.items()}
    expected |= {("asleep", case): 4 for case in says}
    expected |= {("bert", case["case"]): max(1, says[case["case"]] - 1) for case in cases[1:]}
    expected |= {("dora", cases[1]["case"]): 2}
    assert stored(workspace) == expected
    rejects = workspace.rows(tables.RATING_REJECTS)
    assert [(row[0], row[2]) for row in rejects] == [("bad.csv", 2), ("bad.csv", 3)]

    numbers = [snapshots(workspace, table) for table in (tables.CONCEPT_RATINGS, tables.RATING_REJECTS)]
    import_ratings(context, [bad, asleep], exact_dt=DT)
    assert stored(workspace) == expected
    assert workspace.rows(tables.RATING_REJECTS) == rejects
    assert numbers == [snapshots(workspace, table) for table in (tables.CONCEPT_RATINGS, tables.RATING_REJECTS)]

    corrected = write_file(tmp_path / "dora.csv", (sample, cases[0]["case"], "dora", 3))
    capsys.readouterr()
    import_ratings(context, [corrected], exact_dt=None)
    assert "dora: 1 ratings of sample" in capsys.readouterr().out
    del expected["dora", cases[1]["case"]]
    assert stored(workspace) == expected | {("dora", cases[0]["case"]): 3}

    report_ratings(context, exact_dt=None)
    printed = capsys.readouterr().out
    assert "Krippendorff's alpha" in printed
    figures = {
        (row["raters"], row["subject"], row["metric"]): row["value"]
        for row in workspace.warehouse().read_published(tables.RATING_METRICS).collect()
    }
    assert figures["all", "rater: anna", "attentive"] == 1
    assert figures["all", "rater: bert", "wrong_labels_low"] == 1
    assert figures["all", "rater: asleep", "attentive"] == 0
    assert (figures["all", "concepts", "raters"], figures["attentive", "concepts", "raters"]) == (4, 3)
    assert figures["all", "concepts", "krippendorff_alpha"] < figures["attentive", "concepts", "krippendorff_alpha"]
    assert figures["attentive", "concepts", "auc_interpretable"] == 1
    low, mean, high = (figures["attentive", "interpretable", f"mean_relevance{end}"] for end in ("_low", "", "_high"))
    assert 3.3 <= low <= mean <= high <= 3.7  # anna says 4 and bert 3
    assert figures["all", "rater: bert", "bias"] < 0

    answer = workspace.recsae("ratings", "report", "--conf", "conf/planted.yaml")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"asleep .* NO ", answer.stdout)


def test_what_cannot_be_imported_is_said_and_kept(exported: tuple[Workspace, Path, Path], tmp_path: Path) -> None:
    workspace, _, _ = exported
    context = workspace.context("ratings")
    unknown = write_file(tmp_path / "unknown.csv", ("s0", "c0", "=cmd", 3))
    with pytest.raises(InputError, match="No rating was accepted"):
        import_ratings(context, [unknown], exact_dt=None)
    (reject,) = [row for row in workspace.rows(tables.RATING_REJECTS) if row[0] == "unknown.csv"]
    assert reject[4] == '{"sample": "s0", "case": "c0", "rater": "=cmd", "rating": "3"}'
    count = len(workspace.rows(tables.RATING_REJECTS))
    broken = tmp_path / "broken.csv"
    broken.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has not one column sample, case, rater, rating"):
        import_ratings(context, [unknown, broken], exact_dt=None)
    assert len(workspace.rows(tables.RATING_REJECTS)) == count


def test_rating_tables_are_created_as_declared(exported: tuple[Workspace, Path, Path]) -> None:
    workspace, _, _ = exported
    for table in (tables.RATING_SAMPLES, tables.CONCEPT_RATINGS, tables.RATING_REJECTS, tables.RATING_METRICS):
        workspace.warehouse().ensure(table)
        described = workspace.spark.sql(f"DESCRIBE {workspace.warehouse().full_name(table)}").collect()
        comments = {row["col_name"]: row["comment"] for row in described if row["comment"]}
        assert {field.name: field.metadata["comment"] for field in table.schema.fields}.items() <= comments.items()
        assert f"audit-{DT}" not in workspace.warehouse().references(table)
