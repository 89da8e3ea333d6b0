"""How a table fits into the width of a terminal: as it is, with its words wrapped, or one record below the other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

BORDER, FRAME = 3, 1  # cells that each column takes beside its text, and the table as a whole
WRAPPED = 1.5  # a table that is wider than so many terminals is read more easily as records

Rows = Sequence[Sequence[str]]


def column_widths(columns: Sequence[str], rows: Rows, width: int) -> list[int] | None:
    """Cells of each column's text, so that the table is at most `width` wide and breaks no word; None where it
    cannot be, or would be wrapped so much that records are read more easily.

    Parameters
    ----------
    columns, rows : headings and cells, which may have several lines.
    """
    by_column = list(zip(columns, *rows, strict=True))
    natural = [max(map(_longest_line, cells)) for cells in by_column]
    least = [max(map(_longest_word, cells)) for cells in by_column]
    room = width - FRAME - BORDER * len(columns)
    if sum(least) > room or sum(natural) > WRAPPED * room:
        return None
    widths = list(natural)
    while sum(widths) > room:  # the widest one that can gives a cell
        widest = max((place for place in range(len(widths)) if widths[place] > least[place]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def whole_heading(heading: str) -> str:
    """A heading that was broken for a narrow column, whole again."""
    return heading.replace("-\n", "").replace("\n", " ")


def _longest_line(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)
