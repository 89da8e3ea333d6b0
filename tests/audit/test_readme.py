"""What README.md shows is run, on the tables of a whole audit; and conf/README.md's way to read them without Spark."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

import pytest

from recsae_lib.platform.warehouse import tables
from tests.planted import FEATURES
from tests.readmes import README, blocks, commands
from tests.workspace import DT, REPOSITORY, Workspace

pytestmark = pytest.mark.integration
CONF = REPOSITORY / "conf" / "README.md"

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
    assert len(LOOKS) == 13


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


def test_mlflow_opens_what_an_audit_left(audited: Workspace) -> None:
    shown = [words for readme in (README, CONF) for words in commands(readme) if words[0] == "mlflow"]
    assert shown == [["mlflow", "ui", "--backend-store-uri", "sqlite:///var/mlflow/mlflow.db"]] * 2
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", *shown[0], "--port", str(port), "--workers", "1"]
    pages = subprocess.Popen(command, cwd=audited.folder, start_new_session=True, stderr=subprocess.DEVNULL)
    asked = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/registered-models/alias?name=recsae-planted&alias=champion"
    try:
        answer = _answer(asked, pages)
    finally:
        os.killpg(pages.pid, signal.SIGTERM)
        pages.wait()
    assert "live latents are confirmed concepts" in json.loads(answer)["model_version"]["description"]


def _answer(address: str, server: subprocess.Popen[bytes]) -> bytes:
    opener, ends = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + 120
    while True:
        try:
            with opener.open(address) as answer:
                return bytes(answer.read())
        except urllib.error.URLError:
            assert server.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.2)


def test_champions_load_as_models_of_mlflow(audited: Workspace) -> None:
    (snippet,) = (block for block in blocks(CONF, "python") if "@champion" in block)
    item_ids = sorted(row[0] for row in audited.rows(tables.ITEMS))[:2]
    here = {"ml_100k": "planted", "* 64": "* 16", '"50", "181"': ", ".join(map(repr, item_ids))}
    for word, other in here.items():
        assert word in snippet
        snippet = snippet.replace(word, other)
    shown = "print(list(activations.columns), *recommended['item_ids'][0], sep='\\n')"
    command = [sys.executable, "-c", f"{snippet}\n{shown}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}  # not of this process
    done = subprocess.run(command, cwd=audited.folder, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    columns, *recommended = done.stdout.splitlines()
    assert columns == "['latent_ids', 'activations']"
    assert len(recommended) == 5
    assert not set(item_ids) & set(recommended)


def test_python_reads_what_is_published(audited: Workspace) -> None:
    published = audited.warehouse().read_published(tables.CONCEPTS)
    unpublished = audited.warehouse(DT + timedelta(days=1000))
    main = unpublished.references(tables.CONCEPTS)["main"]
    unpublished.replace(tables.CONCEPTS, published.drop("dt"))
    (snippet,) = (block for block in blocks(CONF, "python") if "StaticTable" in block)
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
