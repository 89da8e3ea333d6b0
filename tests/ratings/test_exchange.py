"""Human rating from a published audit and back: export, page, files of raters, import, report."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.cli.ratings import print_import, print_report
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse import tables
from recsae_lib.ratings.exchange import export_ratings, import_ratings, report_ratings
from tests.isolation import isolation
from tests.publishing import publish
from tests.ratings.rating_cases import HOSTILE
from tests.workspace import DT, Workspace, open_workspace

pytestmark = pytest.mark.integration

CONFIDENCES = {latent: (0.9, 0.7, 0.5)[latent % 3] for latent in range(24)}  # every third one is interpretable
UNLABELLED = (24, 25)


@pytest.fixture(scope="module")
def exported(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path, Path]:
    """A workspace with published concepts, and the page and the sheet that the command has written."""
    workspace = open_workspace(spark, tmp_path_factory.mktemp("rated"), "rated")
    publish_concepts(workspace)
    conf = str(workspace.folder / "conf" / "planted.yaml")
    with isolation(), redirect_stdout(io.StringIO()) as printed:
        assert workspace.recsae_here("ratings", "export", "--conf", conf, "--concepts", "12") == 0
    said = printed.getvalue().splitlines()
    assert said[:4] == [
        "18 cases: 12 of 24 concepts with a label (2 without one are left out), 3 shown again, 3 with a wrong label",
        "  confidence 0.6 to 0.8, not interpretable: 4 of 8",
        "  confidence 0.8 and above, interpretable: 4 of 8",
        "  confidence below 0.6, not interpretable: 4 of 8",
    ]
    page, sheet = (workspace.folder / line for line in said[4:])
    return workspace, page, sheet


def publish_concepts(workspace: Workspace) -> None:
    """Each latent has a term and four items of its own, and the hostile titles."""
    verdicts = {
        0.9: (0.9, 0.7, 0.97, 0.01, True),
        0.7: (0.7, 0.48, 0.85, 0.2, False),
        0.5: (0.5, 0.3, 0.7, 0.9, False),
    }
    reach = (None, None, 5, 0.1, 1.0, *[None] * 15)  # none of the columns that ratings do not read
    concepts: list[tuple[object, ...]] = [
        (1, latent, f"latent {latent}", "", [], "terms", "unlabelled", None, None, None, None, None, False, *reach)
        for latent in UNLABELLED
    ]
    for latent, confidence in CONFIDENCES.items():
        interpreter = "llm" if latent % 2 else "terms"
        named = (HOSTILE[latent % 5] + str(latent), f"About {latent}", [], interpreter, "labelled", "terms")
        concepts.append((1, latent, *named, *verdicts[confidence], *reach))
    own = [(f"i{latent}-{rank}", latent, rank) for latent in CONFIDENCES for rank in range(1, 5)]
    shared = [(f"h{place}", latent, 5 + place) for latent in CONFIDENCES for place in range(5)]
    for table, rows in (
        (tables.CONCEPTS, concepts),
        (tables.ITEMS, [(item, f"Title {item}", "", [f"feature {latent}."], None) for item, latent, _ in own]),
        (tables.LATENT_ITEMS, [(1, latent, item, 1.0 / rank, 3, rank) for item, latent, rank in own + shared]),
        (
            tables.CONCEPT_TERMS,
            [
                (1, latent, f"feature {latent}.", "feature", 0.5, 1.0, 8.0, 5.0, 0.001, rank == 1, 4, 3, rank)
                for latent in CONFIDENCES
                for rank in (1, 2)
            ],
        ),
    ):
        workspace.warehouse().replace(table, workspace.spark.createDataFrame(rows, table.versioned_row_schema))
    publish(workspace.warehouse())


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
    key = {case_id: row for case_id, row in key_of(workspace).items() if row["sample"] == sample}
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))
    in_order = [case_id for case_id, _ in sorted(key.items(), key=lambda entry: entry[1]["place"])]
    assert in_order == [case["case"] for case in cases] == [row["case"] for row in rows]
    assert {row["sample"] for row in rows} == {sample}
    kinds = [row["kind"] for row in key.values()]
    assert (kinds.count("concept"), kinds.count("repeat"), kinds.count("wrong_label")) == (12, 3, 3)
    concepts = {row["latent_id"]: row for row in workspace.warehouse().read_published(tables.CONCEPTS).collect()}
    for case in cases:
        row = key[case["case"]]
        assert case["label"] == concepts[row["label_latent_id"]]["label"]
        own_words = f"About {row['label_latent_id']}" if row["label_latent_id"] % 2 else ""
        assert case["description"] == row["description"] == own_words  # one that only lists terms is left out
        assert row["interpretable"] == concepts[row["latent_id"]]["interpretable"]
        assert row["latent_id"] not in UNLABELLED
        assert case["terms"] == [f"feature {row['latent_id']}."]  # the significant one
        own = [{"title": f"Title i{row['latent_id']}-{rank}", "features": case["terms"]} for rank in range(1, 5)]
        assert case["items"] == own + [{"title": f"h{place}", "features": []} for place in range(5)]
        assert (case["label"] == concepts[row["latent_id"]]["label"]) == (row["kind"] != "wrong_label")
        assert row["stratum_concepts"] == 8


def test_the_same_sample_is_drawn_again_beside_another(exported: tuple[Workspace, Path, Path]) -> None:
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
    first, second = [case["case"] for case in cases if key_of(workspace)[case["case"]]["kind"] == "concept"][:2]
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
        (sample, first, "dora", 5),
        ("s123456789abcdef", first, "dora", 3),
        (sample, second, "dora", 2),
    )
    print_import(import_ratings(context, [anna, asleep, bert, bad, anna], exact_dt=None))
    printed = capsys.readouterr().out
    assert f"anna: {len(cases)} ratings of sample {sample}\n" in printed
    assert "1 rows have no rating yet" in printed
    assert "refused 1 of bad.csv: the rating is not 1, 2, 3 or 4" in printed
    expected = {("anna", case): rating for case, rating in says.items()}
    expected |= {("asleep", case): 4 for case in says}
    expected |= {("bert", case["case"]): max(1, says[case["case"]] - 1) for case in cases[1:]}
    expected |= {("dora", second): 2}
    assert stored(workspace) == expected
    rejects = workspace.rows(tables.RATING_REJECTS)
    assert [row[2] for row in rejects if row[0] == "bad.csv"] == [2, 3]

    numbers = [snapshots(workspace, table) for table in (tables.CONCEPT_RATINGS, tables.RATING_REJECTS)]
    import_ratings(context, [bad, asleep], exact_dt=DT)
    assert stored(workspace) == expected
    assert workspace.rows(tables.RATING_REJECTS) == rejects
    assert numbers == [snapshots(workspace, table) for table in (tables.CONCEPT_RATINGS, tables.RATING_REJECTS)]

    corrected = write_file(tmp_path / "dora.csv", (sample, first, "dora", 3))
    capsys.readouterr()
    print_import(import_ratings(context, [corrected], exact_dt=None))
    assert "dora: 1 ratings of sample" in capsys.readouterr().out
    del expected["dora", second]
    assert stored(workspace) == expected | {("dora", first): 3}

    for name, metrics in report_ratings(context, exact_dt=None).items():
        print_report(name, metrics)
    printed = capsys.readouterr().out
    assert "Krippendorff's alpha" in printed
    assert re.search(r"asleep .* NO ", printed)
    assert re.search(r"anna .* 100% .* yes ", printed)
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
    assert 3.3 <= low <= mean <= high <= 3.7  # anna says 4 and bert 3, of the rated ones dora says 3
    assert figures["all", "rater: bert", "bias"] < 0

    carl = write_file(tmp_path / "carl.csv", *((sample, case, "carl", 0) for case in says))
    import_ratings(context, [carl], exact_dt=None)
    assert {rating for (rater, _), rating in stored(workspace).items() if rater == "carl"} == {0}
    (metrics,) = report_ratings(context, exact_dt=None).values()
    after = {(one.raters, one.subject, one.metric): one.value for one in metrics}
    assert after["all", "rater: carl", "cannot_tell_share"] == 1
    alike = ("mean_relevance", "krippendorff_alpha", "auc_interpretable")
    assert [after["all", "concepts", name] for name in alike] == [figures["all", "concepts", name] for name in alike]
    print_report("sample", metrics)
    assert re.search(r"carl .* 100% ", capsys.readouterr().out)


def test_what_cannot_be_imported_is_said_and_kept(exported: tuple[Workspace, Path, Path], tmp_path: Path) -> None:
    workspace, _, _ = exported
    context = workspace.context("ratings")
    unknown = write_file(tmp_path / "unknown.csv", ("s0", "c0", "=cmd", 3))
    assert import_ratings(context, [unknown], exact_dt=None).rows.accepted == []
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
