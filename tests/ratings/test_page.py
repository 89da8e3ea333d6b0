from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.ratings.page import SHEET_COLUMNS, as_text_cell, render_page, render_sheet
from recsae_lib.ratings.sample import Evidence, RatingCase, RatingSample
from tests.ratings.rating_cases import HOSTILE, concept, sample

FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"


def data_of(page: str) -> list[dict[str, object]]:
    (data,) = re.findall(r'<script type="application/json" id="cases">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def test_the_page_holds_every_text_unchanged_and_never_as_markup() -> None:
    drawn = sample(12, 12)
    page = render_page(drawn)
    assert page.count("<script") == 2
    assert page.count("<img") == 0
    assert "planted &amp; &lt;safe&gt;" in page
    for shown, case in zip(data_of(page), drawn.cases, strict=True):
        assert shown["label"] == case.labelled_by.label
        assert [item["title"] for item in shown["items"]] == [title for title, _ in case.evidence.items]
    assert {shown["label"] for shown in data_of(page)} >= set(HOSTILE)


def test_the_page_tells_neither_latents_nor_checks() -> None:
    drawn = sample(40, 20)
    assert {case.kind for case in drawn.cases} == {"concept", "repeat", "wrong_label"}
    page = render_page(drawn)
    assert {tuple(shown) for shown in data_of(page)} == {("case", "label", "description", "terms", "items")}
    for word in ('repeat"', "wrong_label", "latent_id", "stratum", "confidence"):
        assert word not in page


def test_no_term_of_the_label_is_shown_once_more() -> None:
    named, others = concept(1, label="Sci-Fi, star wars"), ("sci-fi", "Star Wars", "war")
    shown = Evidence(others, (("Alien", ("Sci-Fi",)),))
    case = RatingCase("c1", "concept", named, named, shown, 1)
    wrong = RatingCase("c2", "wrong_label", named, concept(2), shown, 1)
    drawn = RatingSample("planted", (case, wrong))
    assert [one["terms"] for one in data_of(render_page(drawn))] == [["war"], ["sci-fi", "Star Wars", "war"]]
    rows = list(csv.DictReader(io.StringIO(render_sheet(drawn), newline="")))
    assert [row["terms"] for row in rows] == ["war", "sci-fi, Star Wars, war"]


def test_the_policy_forbids_addresses_and_allows_code_by_hash() -> None:
    page = render_page(sample(5, 5))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert re.findall(r'(?:src|href)="([^"]*)"', re.sub(r"(?s)<script.*?</script>", "", page)) == ["data:,"]


def test_the_sheet_has_a_row_a_case_in_the_order_of_the_page() -> None:
    drawn = sample(12, 12)
    rows = list(csv.DictReader(io.StringIO(render_sheet(drawn), newline="")))
    assert tuple(rows[0]) == SHEET_COLUMNS
    assert [row["case"] for row in rows] == [case.case_id for case in drawn.cases]
    assert {(row["rating"], row["rater"], row["sample"]) for row in rows} == {("", "", drawn.digest)}
    for row in rows:
        assert not any(value.startswith(tuple(FORMULA_STARTS)) for value in row.values())
    assert '\'=HYPERLINK("http://127.0.0.1:9")' in {row["label"] for row in rows}


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        (" \t-2", "'-2"),
        ("@sum", "'@sum"),
        ("a; =b, +c", "a; '=b, '+c"),
        ("two\r\nlines", "two lines"),
        ("Spider-Man: 1+1 = 2", "Spider-Man: 1+1 = 2"),
        ("\uff1dcmd", "'\uff1dcmd"),
        ("\x00=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("\ufeff=1+1", "'=1+1"),
        ("x\x1b[2J,\u200b@SUM(1)", "x [2J, '@SUM(1)"),
    ],
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert as_text_cell(text) == cell


@given(st.text(alphabet=st.sampled_from("=+-@\uff1da ,;|\t\r\n'\""), max_size=30))
def test_no_part_of_a_cell_is_a_formula_whatever_separates_cells(text: str) -> None:
    for part in re.split(r"[,;|\t\r\n]", as_text_cell(text)):
        assert not part.strip().startswith(tuple(FORMULA_STARTS))
