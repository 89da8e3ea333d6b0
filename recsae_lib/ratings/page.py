"""The sample as a page for the browser and as a sheet for spreadsheets. Labels and item text are untrusted."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
from importlib.resources import files

from recsae_lib.printable import plain
from recsae_lib.ratings.sample import RatingCase, RatingSample

SHEET_COLUMNS = ("case", "label", "description", "terms", "items", "rating", "rater", "sample")


def render_page(sample: RatingSample) -> str:
    """Fill the page: one HTML file that needs nothing else and may reach nothing else.

    Terms that the label names are not shown once more. What comes from tables stands in it once, as JSON in a data
    block without ``<``, and is shown as text. The Content-Security-Policy admits the page's own script and style by
    their hashes, and no address at all. The page tells neither latents nor which cases are checks.
    """
    template = (files(__package__) / "page.html").read_text(encoding="utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", template, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", template, re.DOTALL)
    policy = (
        f"default-src 'none'; script-src '{_source(script)}'; style-src '{_source(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    cases = json.dumps([_shown(case) for case in sample.cases], ensure_ascii=True).replace("<", "\\u003c")
    parts = {"policy": policy, "title": html.escape(sample.title), "sample": sample.digest, "cases": cases}
    return re.sub(r"\[\[(\w+)\]\]", lambda place: parts[place.group(1)], template)


def render_sheet(sample: RatingSample) -> str:
    """Write the cases as CSV for spreadsheets, rating and rater to be filled in; no text can act as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(SHEET_COLUMNS)
    for case in sample.cases:
        shown = (
            case.labelled_by.label,
            case.labelled_by.description,
            ", ".join(_other_terms(case)),
            "; ".join(_titled(title, features) for title, features in case.evidence.items),
        )
        writer.writerow([case.case_id, *map(as_text_cell, shown), "", "", sample.digest])
    return text.getvalue()


def as_text_cell(text: str) -> str:
    """Text as one line that no spreadsheet takes for a formula, at the start or after what may separate cells."""
    line = " ".join(plain(text).split())
    return re.sub(r"(^|[,;|]\s*)(?=[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])", r"\1'", line)


def _shown(case: RatingCase) -> dict[str, object]:
    return {
        "case": case.case_id,
        "label": case.labelled_by.label,
        "description": case.labelled_by.description,
        "terms": _other_terms(case),
        "items": [{"title": title, "features": features} for title, features in case.evidence.items],
    }


def _other_terms(case: RatingCase) -> list[str]:
    """Terms of the evidence that are not parts of the label shown."""
    named = {part.strip().casefold() for part in case.labelled_by.label.split(",")}
    return [term for term in case.evidence.terms if term.casefold() not in named]


def _titled(title: str, features: tuple[str, ...]) -> str:
    return f"{title} ({', '.join(features)})" if features else title


def _source(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
