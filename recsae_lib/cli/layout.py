"""How a table fits into the width of a terminal: as it is, with its words wrapped, or one record below the other."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len

BORDER, FRAME = 3, 1  # cells that each column takes beside its text, and the table as a whole
LINES = 4  # of a row whose words are wrapped, on average; taller ones are read more easily as records

Rows = Sequence[Sequence[str]]


def column_widths(columns: Sequence[str], rows: Rows, width: int) -> list[int] | None:
    """Cells of each column's text in a table that is at most `width` wide and breaks no word, headings at most after an
    underscore; None where words are too long for that, or rows would be taller than `LINES`.

    Parameters
    ----------
    columns, rows : headings and cells, which may have several lines.
    """
    by_column = list(zip(columns, *rows, strict=True))
    room = width - FRAME - BORDER * len(columns)
    full = [max(map(_longest_line, cells)) for cells in by_column]
    if sum(full) <= room:
        return full
    names = [_longest_word(_parted(name)) for name in columns]
    least = [max([name, *map(_longest_word, cells)]) for name, (_, *cells) in zip(names, by_column, strict=True)]
    if sum(least) > room:
        return None
    lines = (max([name, *map(_longest_line, cells)]) for name, (_, *cells) in zip(names, by_column, strict=True))
    widths = [min(longest, room) for longest in lines]
    while sum(widths) > room:  # the widest one that can gives a cell
        widest = max((place for place in range(len(widths)) if widths[place] > least[place]), key=widths.__getitem__)
        widths[widest] -= 1
    for place, wanted in enumerate(full):  # what is left, for headings that need not be broken then
        widths[place] += max(0, min(room - sum(widths), wanted - widths[place]))
    heights = [max(_height(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return widths if sum(heights) <= LINES * len(rows) else None


def whole_heading(heading: str) -> str:
    """A heading that was broken for a narrow column, on one line."""
    return heading.replace("-\n", "").replace("\n", " ")


def broken_heading(heading: str, width: int) -> str:
    """A heading in lines of at most `width` cells, broken after underscores where its words are longer."""
    if _longest_word(heading) <= width:
        return heading
    lines: list[str] = []
    for part in _parted(heading).split("\n"):
        if lines and cell_len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(lines)


def _parted(heading: str) -> str:
    return re.sub(r"(?<=_)(?=[^_\n])", "\n", heading)


def _longest_line(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _height(text: str, width: int) -> int:
    return sum(max(1, len(textwrap.wrap(line, max(width, 1)))) for line in text.split("\n"))
