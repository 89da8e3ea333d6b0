"""Records of quoted text, against Python's csv module and however a file is cut into splits."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.datasets.parsing import quoting
from recsae_lib.datasets.parsing.quoting import (
    NOT_CLOSED,
    NOT_DOUBLED,
    TOO_LONG,
    WRONG_FIELDS,
    Line,
    Quoting,
    Row,
    Scan,
    Scanner,
    Summing,
    assembled,
    borders_of,
)

RFC = Quoting(",", '"')
FIELDS = 3
TEXT = st.text(alphabet='ab", \n12', max_size=6)


def rows_of(lines: list[str], *cuts: int, layout: Quoting = RFC) -> list[Row]:
    """All rows of a file that is cut into splits before these lines."""
    scanner = Scanner(layout)
    numbered = [Line(number, text, None) for number, text in enumerate(lines)]
    borders = [0, *cuts, len(lines)]
    splits = [numbered[start:end] for start, end in pairwise(borders) if start < end]
    summaries = []
    for split in splits:
        summing = Summing(scanner)
        for line in split:
            summing.feed(line)
        summaries.append(summing.summary())
    known = borders_of(summaries, FIELDS)
    return [
        row for split, border in zip(splits, known, strict=True) for row in assembled(split, scanner, border, FIELDS)
    ]


def records_of(lines: list[str], *cuts: int, layout: Quoting = RFC) -> list[str | None]:
    """Records that are none are told by their reason."""
    return [row.fault or row.text for row in rows_of(lines, *cuts, layout=layout) if not row.continued]


@given(st.lists(st.lists(TEXT, min_size=FIELDS, max_size=FIELDS), min_size=1, max_size=6), st.data())
def test_what_csv_writes_is_put_together_in_any_splits(table: list[list[str]], data: Any) -> None:
    written = []
    for row in table:
        out = io.StringIO()
        csv.writer(out, lineterminator="", quoting=csv.QUOTE_ALL).writerow(row)
        written.append(out.getvalue())
    lines = "\n".join(written).split("\n")
    cuts = data.draw(st.lists(st.integers(0, len(lines)), max_size=4))
    assert records_of(lines, *sorted(cuts)) == written


@given(st.lists(st.text(alphabet='a",\\ ', max_size=7), min_size=1, max_size=8), st.data())
def test_rows_of_any_text_do_not_depend_on_the_splits(lines: list[str], data: Any) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(lines)), max_size=5))
    whole = rows_of(lines)
    assert rows_of(lines, *sorted(cuts)) == whole
    assert [row.position for row in whole] == list(range(len(lines)))


def test_a_mark_within_a_field_is_a_letter() -> None:
    assert Scanner(RFC).scan('12" vinyl,7" single 3" wide,"a"') == Scan(False, False, 2)
    assert Scanner(RFC).scan(' "a, b" ,"",""""') == Scan(False, False, 2)
    assert Scanner(Quoting("\t", '"')).scan('a\t\t "x\ty"') == Scan(False, False, 2)
    assert Scanner(Quoting(",", "'", "\\")).scan(r"'it\'s, a','\\',b\'") == Scan(False, False, 2)


def test_lines_within_quotes_are_never_records() -> None:
    lines = ['i0,"A warm coat.', "Red, blue, green", "", 'Made of wool",Coats', "i1,hat,Hats"]
    assert rows_of(lines) == [
        (0, "\n".join(lines[:4]), None, False),
        (1, "Red, blue, green", None, True),
        (2, "", None, True),
        (3, 'Made of wool",Coats', None, True),
        (4, "i1,hat,Hats", None, False),
    ]


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (1, 2, 3)])
def test_what_a_stray_mark_swallows_is_refused_line_by_line(cuts: tuple[int, ...]) -> None:
    assert records_of(['i0,"Best of,x', "i1,a,b", "i2,c,d"], *cuts) == [NOT_CLOSED] * 3
    assert records_of(['i0,"Best of,x', 'i1,"Hits",y', "i2,c,d"], *cuts) == [NOT_DOUBLED] * 2 + ["i2,c,d"]
    assert records_of(['i0,"Best of,x', 'i1,12",y,z', "i2,c,d"], *cuts) == [WRONG_FIELDS] * 2 + ["i2,c,d"]
    assert records_of([r'i0,"The \"Best\"",x', "i1,a,b", 'i2,"c",d'], *cuts) == [NOT_DOUBLED] * 3


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4)])
def test_a_record_that_is_too_long_is_refused_whole(monkeypatch: pytest.MonkeyPatch, cuts: tuple[int, ...]) -> None:
    monkeypatch.setattr(quoting, "LONGEST_RECORD", 20)
    lines = ["a,b," + "c" * 30, 'a,"1234567890', "1234567890", "1,2,3", 'x",y', "i,j,k"]
    assert records_of(lines, *cuts) == [lines[0], *[TOO_LONG] * 4, "i,j,k"]


def test_an_escape_character_takes_the_place_of_doubling() -> None:
    spark = Quoting(",", '"', "\\")
    assert records_of([r'i0,"The \"Best\" coat",C', r'i1,"a \"b\", c",S', r'i2,"\\",x'], layout=spark) == [
        r'i0,"The \"Best\" coat",C',
        r'i1,"a \"b\", c",S',
        r'i2,"\\",x',
    ]
