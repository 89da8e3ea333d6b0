"""Tables in a terminal of 80 columns: as they are, wrapped, or record by record."""

from __future__ import annotations

from typing import Any

import pytest

from recsae_lib.cli.layout import broken_heading, column_widths
from recsae_lib.cli.terminal import Terminal, of_audit, print_table

LONG = "Fires for users whose linked items stand out by their features"


def test_a_table_that_fits_has_its_natural_widths() -> None:
    assert column_widths(["a", "name"], [["1", "two words"]], 17) == [1, 9]
    assert column_widths(["a", "name"], [["1", "two words"]], 16) == [1, 8]
    assert column_widths(["a", "name"], [], 80) == [1, 4]
    assert column_widths(["字字", "b"], [], 80) == [4, 1]


def test_the_widest_columns_give_way_and_no_word_breaks() -> None:
    assert column_widths(["id", "text"], [["unbreakable", "one two three four"]], 25) == [11, 7]
    assert column_widths(["id", "text"], [["unbreakable", "one two three four"]], 22) is None


def test_headings_break_after_underscores_before_text_wraps() -> None:
    assert column_widths(["users_in_segment", "text"], [["7", "one two"]], 21) == [7, 7]
    assert column_widths(["users_in_segment", "text"], [["7", "one two"]], 30) == [16, 7]
    assert broken_heading("users_in_segment", 7) == "users_\nin_\nsegment"
    assert broken_heading("users_in_segment", 9) == "users_in_\nsegment"
    assert broken_heading("users_in_segment", 16) == "users_in_segment"


def test_rows_that_would_be_tall_are_no_table() -> None:
    assert column_widths(["text"], [[LONG]], 30) == [26]
    assert column_widths(["text"], [[LONG]], 24) == [20]
    assert column_widths(["text"], [[LONG]], 20) is None
    assert column_widths(["text"], [[LONG], ["short"]], 20) == [16]


def test_what_does_not_fit_is_printed_record_by_record(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    rows: list[list[Any]] = [["[red]a\x1b label of words", 0.25], ["x", None]]
    print_table(["label", "confidence_low"], iter(rows), of_audit("shop", "2026-11-20", 3))
    assert capsys.readouterr().out.splitlines() == [
        "shop, dt=2026-11-20, SAE",
        "version 3",
        "1 ──────────────────────",
        "label           [red]a\\u",
        "                001b",
        "                label of",
        "                words",
        "confidence_low  0.25",
        "2 ──────────────────────",
        "label           x",
        "confidence_low",
    ]


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    words = [f"word{number}" for number in range(30)]
    Terminal(200).tabulate([f"column_{number}" for number in range(6)], [words[at::5] for at in range(5)])
    Terminal(200).tabulate(["popu-\nlarity", "of all"], [[" ".join(words), "0.1"]])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    assert all(out.count(word) >= 2 for word in words)
    assert ("popularity" in out) == (columns == 40)  # whole again where it stands at the side
