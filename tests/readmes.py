"""What stands in the READMEs: blocks of code, commands, inline code, links and headings."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = (".github", "airflow_dags", "conf", "jobs", "recsae_lib", "tests")
README = REPOSITORY / "README.md"
READMES = [README, *sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.md"))]
READMES = [path for path in READMES if path.parent.name != "prompts"]  # are for language models

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


class Link(NamedTuple):
    """A link: what is shown, the file it names (empty for the same one), and the heading in it."""

    text: str
    file: str
    heading: str


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language; that of commands is the empty one."""
    found = _BLOCK.findall(path.read_text("utf-8"))
    return [textwrap.dedent(text) for _, named, text in found if named == language]


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the lines of the blocks of commands as words, without comments and variables before them."""
    for block in blocks(path, ""):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and _ASSIGNMENT.match(words[0]):
                del words[0]
            if words:
                yield words


def inline_code(path: Path) -> list[str]:
    """Return what stands between backticks, line breaks as blanks."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", _prose(path))]


def links(path: Path) -> list[Link]:
    """Return the links to files and headings of the repository."""
    found = re.findall(r"\[([^\]]*)\]\(([^)]*)\)", _prose(path))
    return [Link(text, *target.partition("#")[::2]) for text, target in found if "://" not in target]


def headings(path: Path) -> set[str]:
    """Return the names under which links find the headings, as GitHub makes them."""
    titles = re.findall(r"(?m)^#+ (.+)$", _prose(path))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _prose(path: Path) -> str:
    return _BLOCK.sub("", path.read_text("utf-8"))
