"""What the READMEs tell people to run, set, open and look up is there. Those of README.md are run in tests/audit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsae_lib.cli.main import build_parser
from recsae_lib.config import Settings, load_settings
from recsae_lib.config.loading import known_keys
from recsae_lib.platform.warehouse.tables import TABLES
from tests.benchmarks.__main__ import NAMES as BENCHMARKS
from tests.faults.__main__ import NAMES as FAULTS
from tests.readmes import FOLDERS, README, READMES, REPOSITORY, blocks, commands, headings, inline_code, links

BASE = REPOSITORY / "conf" / "base.yaml"
JOBS = {path.stem for path in (REPOSITORY / "jobs").glob("[a-z]*.py")}
GOALS = set(re.findall(r"(?m)^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8")))
PATH = re.compile(rf"(?<![\w/.])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*")
PLACEHOLDER = re.compile(r"[A-Z]{4,}(?!\.md)")  # jobs/NAME.py, config/FOLDER.py
SECTIONS = "|".join(sorted(set(Settings.model_fields) - {"spark"}))  # properties of Spark are called spark. too
SETTING = re.compile(rf"(?:{SECTIONS})\.(?!py\b|json\b)[a-z_.]*[a-z]")

every_readme = pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def parsed(words: list[str]) -> Any:
    try:
        return build_parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"refused: recsae {' '.join(words)}")


def of_jobs(words: list[str]) -> list[str] | None:
    """Return what `recsae` would be told of a line that starts a job file by itself."""
    for place, word in enumerate(words):
        if job := re.fullmatch(r"jobs/(\w+)\.py", word):
            return ["run", job[1], *words[place + 1 :]]
    return None


def rows_of(path: Path) -> dict[str, str]:
    """Return the rows of tables whose first cell is one word of code."""
    return dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", path.read_text("utf-8")))


@every_readme
def test_commands_are_understood(path: Path) -> None:
    for words in commands(path):
        arguments = words[1:] if words[0] == "recsae" else of_jobs(words)
        if arguments is not None:
            given = parsed(arguments)
            conf = None if arguments[0] == "compare" else given.conf  # a study is no settings file
            load_settings(BASE, conf and REPOSITORY / conf, given.overrides)
        if words[0] == "make":
            assert {goal for goal in words[1:] if "=" not in goal} <= GOALS


@every_readme
def test_inline_commands_exist(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in inline_code(path):
        program, *words = code.split()
        if program == "make":
            assert words[0] in GOALS, code
        if program == "recsae" and words:
            with pytest.raises(SystemExit) as ended:
                build_parser().parse_args([*words[: 1 + (words[0] == "ratings")], "--help"])
            assert ended.value.code == 0, code
            assert words[0] != "run" or words[1] in {*JOBS, "JOB"}, code


@every_readme
def test_settings_exist(path: Path) -> None:
    for block in blocks(path, "yaml"):
        load_settings(BASE, yaml.safe_load(block))
    if path.parent.name != ".github":  # the changelog has old names
        named = {code[0] for text in inline_code(path) if (code := SETTING.match(text))}
        assert named <= set(known_keys())


@every_readme
def test_paths_exist(path: Path) -> None:
    texts = [*inline_code(path), *(" ".join(words) for words in commands(path))]
    named = {found for text in texts for found in PATH.findall(text) if not PLACEHOLDER.search(found)}
    assert [found for found in sorted(named) if not (REPOSITORY / found).exists()] == []


@every_readme
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        target = path.parent / link.file if link.file else path
        assert target.exists(), link
        if link.heading:
            assert link.heading in headings(target), link
        if symbol := re.fullmatch(r"`[\w.]+\.py:(\w+)`", link.text):
            assert re.search(rf"\b{symbol[1]}\b", target.read_text("utf-8")), link


def test_every_readme_is_linked_from_the_first() -> None:
    linked = {(README.parent / link.file).resolve() for link in links(README)}
    folders = {path.resolve() if path.suffix else (path / "README.md").resolve() for path in linked}
    assert [path for path in READMES if path.name == "README.md" and path != README and path not in folders] == []


def test_the_readme_of_jobs_names_jobs_and_tables() -> None:
    path = REPOSITORY / "jobs" / "README.md"
    rows = rows_of(path)
    assert rows.keys() == JOBS
    for table in TABLES.values():
        assert f"`{table.name}`" in rows.get(table.writer, path.read_text("utf-8"))


def test_every_benchmark_and_fault_has_its_row() -> None:
    assert rows_of(REPOSITORY / "tests" / "README.md").keys() == set(FAULTS)
    assert rows_of(REPOSITORY / "tests" / "benchmarks" / "README.md").keys() == set(BENCHMARKS)
