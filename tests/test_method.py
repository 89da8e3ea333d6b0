"""METHOD.md: whoever cites a section of it finds that section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
METHOD = REPOSITORY / "recsae_lib" / "METHOD.md"
FOLDERS = ("recsae_lib", "jobs", "airflow_dags", "tests", "conf")
NAMES = ("*.py", "*.yaml", "*.md", "*.sql", "Makefile")

NUMBERS = r"\d+(?:(?:\s*[,–-]\s*|\s+(?:and|or|to)\s+)\d+)*"
# A docstring or comment may break the line within a citation.
CITATION = re.compile(rf"METHOD\.md[`,]?[\s#]+sections?[\s#]+({NUMBERS})")
WITHIN = re.compile(rf"\bsections?\s+({NUMBERS})")  # METHOD.md about itself
LOWER_CASE = re.compile(r"\bmethod\.md\b")


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and content of every text that may cite METHOD.md."""
    for name in NAMES:
        for folder, pattern in (("", name), *((folder, f"**/{name}") for folder in FOLDERS)):
            for path in sorted((REPOSITORY / folder).glob(pattern)):
                yield str(path.relative_to(REPOSITORY)), path.read_text("utf-8")


def cited(citation: re.Pattern[str], text: str) -> list[int]:
    return [int(number) for found in citation.findall(text) for number in re.findall(r"\d+", found)]


def headings() -> list[int]:
    return [int(number) for number in re.findall(r"(?m)^## (\d+)\. \S", METHOD.read_text("utf-8"))]


def test_sections_are_numbered_from_1_to_11() -> None:
    assert headings() == list(range(1, 12))


def test_citations_are_read_however_they_are_written() -> None:
    name = METHOD.name
    assert cited(CITATION, f"({name} section 3; ours), `{name}` section 4, and {name}, section 10.") == [3, 4, 10]
    assert cited(CITATION, f"see {name} sections 3 and 6\n# {name}\n#   sections 1, 2 and 11") == [3, 6, 1, 2, 11]
    assert cited(CITATION, f"RecSAE, section 12; section 13 of the paper; {name} and section 14") == []


def test_every_cited_section_is_there() -> None:
    citations = [(path, number) for path, text in texts() for number in cited(CITATION, text)]
    assert citations
    citations += [(METHOD.name, number) for number in cited(WITHIN, METHOD.read_text("utf-8"))]
    known = headings()
    assert [(path, number) for path, number in citations if number not in known] == []


def test_no_text_cites_the_method_in_lower_case() -> None:
    assert [path for path, text in texts() if LOWER_CASE.search(text)] == []
