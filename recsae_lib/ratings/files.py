"""The files that come back from raters: read row by row, each accepted or refused with its reason."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recsae_lib.errors import InputError

NEEDED = ("sample", "case", "rater", "rating")
LONGEST_RECORD = 1_000  # characters
LONGEST_RATER = 64
ANSWERS = ("0", "1", "2", "3", "4")  # 0: the rater cannot tell


@dataclass(frozen=True)
class RatingRow:
    """One row of a file as it was read, blanks around values removed.

    Parameters
    ----------
    line : line of the file, from 1, where the row ends.
    record : the whole row as JSON, at most 1,000 characters.
    """

    file: str
    file_digest: str
    line: int
    sample: str
    case_id: str
    rater: str
    rating: str
    record: str


@dataclass(frozen=True)
class RefusedRow:
    """A row that does not count, and why."""

    row: RatingRow
    reason: str


@dataclass(frozen=True)
class SortedRows:
    """Every row that was read, in one of three places: nothing is lost.

    Parameters
    ----------
    accepted : rows that count.
    refused : rows that do not.
    unrated : rows without a rating: a sheet that is not finished.
    """

    accepted: list[RatingRow]
    refused: list[RefusedRow]
    unrated: list[RatingRow]


def read_rows(name: str, content: bytes) -> list[RatingRow]:
    """Read a file that the page or a spreadsheet has saved; comma, semicolon or tab separate the columns.

    Raises
    ------
    InputError : the file is not UTF-8, is no CSV, or has not the columns sample, case, rater and rating.
    """
    digest = hashlib.sha256(content).hexdigest()[:16]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8", "Save it as CSV UTF-8") from None
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    rows = []
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or []]
        if missing := [column for column in NEEDED if columns.count(column) != 1]:
            raise InputError(
                f"{name} has not one column {', '.join(missing)}", "Give the file that the page or the sheet saved"
            )
        reader.fieldnames = columns
        for record in reader:
            if not any(record.values()):
                continue  # an empty row of a spreadsheet
            sample, case_id, rater, rating = ((record[column] or "").strip() for column in NEEDED)
            rater = unicodedata.normalize("NFC", rater)
            as_read = json.dumps({str(key): value for key, value in record.items()}, ensure_ascii=True)
            rows.append(
                RatingRow(name, digest, reader.line_num, sample, case_id, rater, rating, as_read[:LONGEST_RECORD])
            )
    except csv.Error as error:
        raise InputError(f"{name} is no CSV: line {reader.reader.line_num}: {error}", "Save it again as CSV") from None
    return rows


def sort_rows(rows: Iterable[RatingRow], samples: Mapping[str, frozenset[str]]) -> SortedRows:
    """Accept or refuse each row.

    Refused are unknown samples and cases, missing and odd names of raters, and ratings other than `ANSWERS`. Where one
    rater rates a case more than once, in whichever of the files: of equal ratings the first counts; of different ones
    none, as nobody can tell which was meant.

    Parameters
    ----------
    rows : of all files that are imported together.
    samples : case ids of each known sample.
    """
    accepted: defaultdict[tuple[str, str, str], list[RatingRow]] = defaultdict(list)
    refused, unrated = [], []
    for row in rows:
        if reason := _fault(row, samples):
            refused.append(RefusedRow(row, reason))
        elif not row.rating:
            unrated.append(row)
        else:
            accepted[row.sample, row.case_id, row.rater].append(row)
    kept = []
    for of_case in accepted.values():
        ratings = sorted({row.rating for row in of_case})
        if len(ratings) > 1:
            reason = f"the rater rates this case differently: {', '.join(ratings)}"
            refused += [RefusedRow(row, reason) for row in of_case]
        else:
            kept.append(of_case[0])
            refused += [RefusedRow(row, "the rater rates this case twice; the first row counts") for row in of_case[1:]]
    return SortedRows(kept, refused, unrated)


def _fault(row: RatingRow, samples: Mapping[str, frozenset[str]]) -> str | None:
    if row.sample not in samples:
        return "the sample is unknown: no page with this digest was made here"
    if row.case_id not in samples[row.sample]:
        return "the case is unknown in this sample"
    if row.rating and row.rating not in ANSWERS:
        return "the rating is not 1, 2, 3 or 4, or 0 for: cannot tell"
    if row.rating and not row.rater:
        return "the rater is missing"
    if row.rater and not _is_name(row.rater):
        return f"the rater's name is not at most {LONGEST_RATER} letters, digits, blanks and . _ @ -"
    return None


def _is_name(rater: str) -> bool:
    """The rule of the page; a letter or digit comes first, so that no name is a formula."""
    kinds = [unicodedata.category(character)[0] for character in rater]
    return (
        len(rater) <= LONGEST_RATER
        and kinds[0] in "LN"
        and all(kind in "LMN" or character in " ._@-" for kind, character in zip(kinds, rater, strict=True))
    )
