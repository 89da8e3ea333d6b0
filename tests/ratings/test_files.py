from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.errors import InputError
from recsae_lib.ratings.files import RatingRow, read_rows, sort_rows

SAMPLES = {"s1": frozenset({"ca", "cb"}), "s2": frozenset({"cc"})}
HEADER = "sample,case,rater,rating\r\n"


def read(*lines: str, name: str = "anna.csv") -> list[RatingRow]:
    return read_rows(name, (HEADER + "\r\n".join(lines)).encode())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("s9,ca,anna,3", "the sample is unknown: no page with this digest was made here"),
        (",ca,anna,3", "the sample is unknown: no page with this digest was made here"),
        ("s1,cc,anna,3", "the case is unknown in this sample"),
        ("s1,ca,anna,00", "the rating is not 1, 2, 3 or 4, or 0 for: cannot tell"),
        ("s1,ca,anna,5", "the rating is not 1, 2, 3 or 4, or 0 for: cannot tell"),
        ("s1,ca,anna,3.5", "the rating is not 1, 2, 3 or 4, or 0 for: cannot tell"),
        ("s1,ca,anna,٣", "the rating is not 1, 2, 3 or 4, or 0 for: cannot tell"),
        ("s1,ca,,3", "the rater is missing"),
        ("s1,ca,=cmd,3", "the rater's name is not at most 64 letters, digits, blanks and . _ @ -"),
        ("s1,ca,-cmd,3", "the rater's name is not at most 64 letters, digits, blanks and . _ @ -"),
        ("s1,ca,@cmd,3", "the rater's name is not at most 64 letters, digits, blanks and . _ @ -"),
        ("s1,ca,a<b,3", "the rater's name is not at most 64 letters, digits, blanks and . _ @ -"),
        (f"s1,ca,{'a' * 65},3", "the rater's name is not at most 64 letters, digits, blanks and . _ @ -"),
        ("s1", "the case is unknown in this sample"),
    ],
)
def test_a_bad_row_is_refused_with_a_reason_and_others_count(line: str, reason: str) -> None:
    found = sort_rows(read(line, "s1,cb,anna,4"), SAMPLES)
    assert [(refused.row.line, refused.reason) for refused in found.refused] == [(2, reason)]
    assert [(row.case_id, row.rating) for row in found.accepted] == [("cb", "4")]


@pytest.mark.parametrize("rater", ["anna", "Åsa Öberg", "अनीता", "r.2_x@lab-1", "3"])
def test_names_of_all_scripts_are_taken(rater: str) -> None:
    assert [row.rater for row in sort_rows(read(f"s1,ca,{rater},3"), SAMPLES).accepted] == [rater]


def test_who_cannot_tell_has_answered() -> None:
    found = sort_rows(read("s1,ca,anna,0", "s1,cb,anna,"), SAMPLES)
    assert [(row.case_id, row.rating) for row in found.accepted] == [("ca", "0")]
    assert [row.case_id for row in found.unrated] == ["cb"]


def test_the_first_of_equal_repeats_counts_and_of_different_none() -> None:
    rows = read("s1,ca,anna,3", "s1,cb,anna,1", "s1,ca,anna,3", "s1,ca,bert,2") + read("s1,cb,anna,2", name="b.csv")
    found = sort_rows(rows, SAMPLES)
    assert [(row.case_id, row.rater, row.rating, row.line) for row in found.accepted] == [
        ("ca", "anna", "3", 2),
        ("ca", "bert", "2", 5),
    ]
    assert sorted((refused.row.file, refused.row.line, refused.reason) for refused in found.refused) == [
        ("anna.csv", 3, "the rater rates this case differently: 1, 2"),
        ("anna.csv", 4, "the rater rates this case twice; the first row counts"),
        ("b.csv", 2, "the rater rates this case differently: 1, 2"),
    ]


def test_a_sheet_as_spreadsheets_save_it_is_read() -> None:
    content = '\ufeffCase;label; Rating ;rater;sample\r\nca;"a; ""b""\r\nc";3; anna ;s1\r\ncb;x;;;s1\r\n;;;;\r\n'
    found = sort_rows(read_rows("sheet.csv", content.encode()), SAMPLES)
    assert [(row.case_id, row.rater, row.rating, row.line) for row in found.accepted] == [("ca", "anna", "3", 3)]
    assert [row.case_id for row in found.unrated] == ["cb"]
    assert found.refused == []
    assert found.accepted[0].record == (
        '{"case": "ca", "label": "a; \\"b\\"\\r\\nc", "rating": "3", "rater": " anna ", "sample": "s1"}'
    )


def test_a_row_is_kept_as_it_was_read_up_to_a_length() -> None:
    (row,) = read("s1,ca," + "x" * 2000 + ",9,more")
    assert len(row.record) == 1000
    assert row.record.startswith('{"sample": "s1", "case": "ca", "rater": "xxx')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"case,rater,rating\nca,anna,3\n", "has not one column sample"),
        (b"sample,case,rater,rating,rating\n", "has not one column rating"),
        (b"", "has not one column sample, case, rater, rating"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'sample,case,rater,rating\ns1,"ca,anna,3\n', "is no CSV: line 2"),
        (b"sample,case,rater,rating\n" + b"x" * 200_000, "is no CSV: line 2"),
    ],
)
def test_a_file_that_is_none_of_ratings_is_refused_as_a_whole(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows("bad.csv", content)


values = st.tuples(
    st.sampled_from(["s1", "s2", "s9", ""]),
    st.sampled_from(["ca", "cb", "cc", "x"]),
    st.sampled_from(["anna", "bert", "", "=x"]),
    st.one_of(st.sampled_from(["1", "2", "3", "4", ""]), st.text(alphabet="0145 ;,\"'\n", max_size=4)),
)


@given(st.lists(values, max_size=30))
def test_every_row_has_one_place_and_no_rater_rates_a_case_twice(lines: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("sample", "case", "rater", "rating"), *lines])
    rows = read_rows("any.csv", text.getvalue().encode())
    assert len(rows) == len(lines)
    found = sort_rows(rows, SAMPLES)
    placed = found.accepted + found.unrated + [refused.row for refused in found.refused]
    assert sorted(row.line for row in placed) == [row.line for row in rows]
    keys = [(row.sample, row.case_id, row.rater) for row in found.accepted]
    assert len(keys) == len(set(keys))
    assert all(row.rating in {"0", "1", "2", "3", "4"} and row.rater in {"anna", "bert"} for row in found.accepted)
