"""What README.md shows is run, on the tables of a whole audit; and conf/README.md's way to read them without Spark."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from recsae_lib.platform.warehouse import tables
from tests.planted import FEATURES
from tests.readmes import README, blocks, commands
from tests.workspace import DT, REPOSITORY, Workspace

pytestmark = pytest.mark.integration

# Whole audits, the tests, and what is run in an empty environment.
ELSEWHERE = [
    ["make", "audit"],
    ["make", "test"],
    ["pip", "install", "."],
    ["recsae", "audit"],
    ["recsae", "init", "FOLDER"],
]
LOOKS = [words[1:] for words in commands(README) if words[0] == "recsae" and words not in ELSEWHERE]


def test_every_command_is_run_here_or_elsewhere() -> None:
    others = [words for words in commands(README) if words not in ELSEWHERE and words[1:] not in LOOKS]
    assert [words for words in others if words[0] in ("recsae", "make", "pip", "spark-submit", "python")] == []
    assert len(LOOKS) == 12


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_a_command_of_the_readme(audited: Workspace, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    live = audited.rows(tables.CONCEPTS)[0][tables.CONCEPTS.schema.names.index("latent_id")]
    here = {
        "conf/local.yaml": str(audited.folder / "conf" / "planted.yaml"),
        "34": str(live),
        "183": "i1",
        "feature=Comedy": f"feature={FEATURES[0]}",
        "Horror": FEATURES[1],
    }
    assert audited.recsae_here(*[here.get(word, word) for word in words]) == 0
    assert capsys.readouterr().out


def test_python_reads_what_is_published(audited: Workspace) -> None:
    published = audited.warehouse().read_published(tables.CONCEPTS)
    unpublished = audited.warehouse(DT + timedelta(days=1000))
    main = unpublished.references(tables.CONCEPTS)["main"]
    unpublished.replace(tables.CONCEPTS, published.drop("dt"))
    (snippet,) = (block for block in blocks(REPOSITORY / "conf" / "README.md", "python") if "StaticTable" in block)
    shown = '"var/warehouse/ml_100k"'
    assert snippet.count(shown) == 1
    found: dict[str, Any] = {}
    iceberg = unpublished.iceberg(tables.CONCEPTS)
    try:
        iceberg.manageSnapshots().fastForwardBranch("main", unpublished.branch).commit()  # main is no read point
        exec(snippet.replace(shown, f'"{audited.folder}/var/warehouse/planted"'), found)
    finally:
        iceberg.manageSnapshots().setCurrentSnapshot(main).removeBranch(unpublished.branch).commit()
    rows = published.collect()
    expected = sorted((row["label"], row["confidence"]) for row in rows if row["interpretable"])
    assert expected
    assert sorted(found["named"].itertuples(index=False, name=None)) == expected
    judged = [row["confidence"] for row in rows if row["confidence"] is not None]
    assert found["means"] == [(DT, pytest.approx(sum(judged) / len(judged)))]
