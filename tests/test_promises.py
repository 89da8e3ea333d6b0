"""What the READMEs promise is shown by the tests that tests/README.md names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.faults.__main__ import NAMES as FAULTS
from tests.readmes import README, REPOSITORY

TESTS = REPOSITORY / "tests"
PROMISING = {
    README,
    REPOSITORY / "conf" / "README.md",
    REPOSITORY / "jobs" / "README.md",
    REPOSITORY / "airflow_dags" / "README.md",
    REPOSITORY / "recsae_lib" / "ratings" / "README.md",
}
ROW = re.compile(r"\| (?P<text>.+?) \| \[[\w ]+\]\((?P<file>[\w./]+)\) \| (?P<tests>`.+`) \|")


class Promise(NamedTuple):
    """A row of the table.

    Parameters
    ----------
    text : words of a README.
    readme : in which they stand.
    tests : each as FILE::FUNCTION, the file in ``tests``.
    """

    text: str
    readme: Path
    tests: tuple[str, ...]


def promises() -> list[Promise]:
    """Return the rows of the table under the heading "Promises"."""
    section = (TESTS / "README.md").read_text("utf-8").partition("\n## Promises\n")[2].partition("\n## ")[0]
    _, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    found = [ROW.fullmatch(line) for line in lines]
    assert [line for line, row in zip(lines, found, strict=True) if row is None] == []
    return [
        Promise(row["text"], (TESTS / row["file"]).resolve(), tuple(re.findall(r"`([^`]+)`", row["tests"])))
        for row in found
        if row is not None
    ]


@cache
def functions(file: str) -> set[str]:
    """Return the names of the functions of a file of ``tests``; none of a file that is not there."""
    path = TESTS / file
    parsed = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in parsed.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_stands_in_the_readme_that_it_names() -> None:
    texts = {readme: " ".join(readme.read_text("utf-8").split()) for readme in PROMISING}
    gone = [promise.text for promise in promises() if promise.text not in texts.get(promise.readme, "")]
    assert gone == []


def test_every_promise_names_tests_that_exist() -> None:
    named = {test for promise in promises() for test in promise.tests}
    runs = {test for test in named if re.fullmatch(r"[\w/]*test_\w+\.py::test_\w+", test)}
    assert [test for test in sorted(runs) if test.partition("::")[2] not in functions(test.partition("::")[0])] == []
    # The others are broken for real, by `make faults`.
    assert named - runs <= {f"faults/{name}.py::inject" for name in FAULTS}


def test_every_readme_that_promises_has_rows_none_twice() -> None:
    rows = promises()
    assert {promise.readme for promise in rows} == PROMISING
    assert len({(promise.text, promise.readme) for promise in rows}) == len(rows)
