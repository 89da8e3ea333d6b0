"""Quotes of delimited text (RFC 4180): which lines are one record, and which are none. Knows no Spark.

A field is quoted where it begins with a quote mark, after blanks perhaps; any other mark is a letter of its field, as
in ``12" vinyl``. Within quotes separators and line breaks are text. A mark there must be doubled, or escaped where the
text has an escape character; after the closing one stands a separator or the end of the line. What breaks this rule
cannot be told from text that a stray mark swallowed, so every line of such a record is rejected, and nothing within it
becomes a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

LONGEST_RECORD = 1_000_000  # characters: a quote that is never closed must not take the memory of a whole file
NOT_CLOSED = "a quote is opened that is not closed before the end of the file"
TOO_LONG = f"a quote is opened that is not closed within {LONGEST_RECORD:,} characters"
NOT_DOUBLED = "a quote within quotes is neither doubled nor escaped (dataset.csv.quote, dataset.csv.escape)"
WRONG_FIELDS = "wrong number of fields"


@dataclass(frozen=True)
class Quoting:
    """How fields are separated and quoted.

    Parameters
    ----------
    separator : what stands between two fields.
    quote : one character.
    escape : what stands before a quote within quotes; None where such a quote is doubled.
    """

    separator: str
    quote: str
    escape: str | None = None


class Scan(NamedTuple):
    """What a line does: whether a quote is open at its end, whether one is misplaced, its separators outside quotes."""

    inside: bool
    misplaced: bool
    separators: int


class Scanner:
    """Reads lines, each from inside or outside of quotes."""

    def __init__(self, quoting: Quoting) -> None:
        self.quote, self._separator = quoting.quote, quoting.separator
        quote = re.escape(self.quote)
        blanks = " *" if self._separator.startswith("\t") else "[ \t]*"
        literal = f"{quote}{quote}" if quoting.escape is None else f"{re.escape(quoting.escape)}(?s:.)"
        self._opening = re.compile(f"{blanks}{quote}")
        self._mark = re.compile(
            rf"(?P<literal>{literal})|(?P<closing>{quote}{blanks}(?={re.escape(self._separator)}|\Z))|{quote}"
        )

    def scan(self, line: str, inside: bool = False) -> Scan:
        """Read one line, without its line break."""
        place, separators, misplaced = 0, 0, False
        while True:
            if not inside and (opening := self._opening.match(line, place)):
                inside, place = True, opening.end()
            if inside:
                for mark in self._mark.finditer(line, place):
                    if mark.lastgroup == "closing":
                        inside, place = False, mark.end()
                        break
                    misplaced = misplaced or mark.lastgroup is None
                else:
                    return Scan(True, misplaced, separators)
            place = line.find(self._separator, place)
            if place < 0:
                return Scan(False, misplaced, separators)
            place, separators = place + len(self._separator), separators + 1


class Line(NamedTuple):
    """A line with its place in the source, and why it is no text."""

    position: int
    text: str
    fault: str | None


@dataclass
class Record:
    """Lines of one record, as far as a split of a file holds them.

    Parameters
    ----------
    lines : what is kept of them; none of those before an overflow.
    closed : whether its last line is there.
    """

    lines: list[Line] = field(default_factory=list)
    fault: str | None = None
    separators: int = 0
    characters: int = 0
    closed: bool = False

    def add(self, line: Line, scan: Scan) -> None:
        """Append a line."""
        self.lines.append(line)
        self.join(line.fault or (NOT_DOUBLED if scan.misplaced else None), scan.separators, len(line.text) + 1)

    def join(self, fault: str | None, separators: int, characters: int) -> None:
        """Account for what follows."""
        self.separators += separators
        self.characters += characters
        self.fault = self.fault or fault

    @property
    def text(self) -> str:
        """Its lines with the breaks between them."""
        return "\n".join(line.text for line in self.lines)

    def verdict(self, fields: int, several: bool) -> str | None:
        """Why it is no record of so many fields; those of one line are counted when they are parsed."""
        if self.fault is None and self.characters > LONGEST_RECORD and (several or not self.closed):
            return TOO_LONG
        if self.fault is None and not self.closed:
            return NOT_CLOSED
        return self.fault or (WRONG_FIELDS if several and self.separators != fields - 1 else None)


@dataclass
class Assembler:
    """Puts the lines of one split together to records.

    Parameters
    ----------
    inside : whether the split begins within a record of an earlier one; its rest is then the first record here.
    record : what is being put together.
    """

    scanner: Scanner
    inside: bool
    record: Record = field(default_factory=Record)

    def feed(self, line: Line) -> Iterator[Record]:
        """Take the next line; give the record that it ends, or lines of one that has grown too long."""
        marked = self.scanner.quote in line.text
        scan = self.scanner.scan(line.text, self.inside) if marked else Scan(self.inside, False, 0)
        self.inside = scan.inside
        self.record.add(line, scan)
        if not self.inside:
            self.record.closed = True
            yield self.record
            self.record = Record()
        elif self.record.characters > LONGEST_RECORD:
            yield self.record
            self.record = Record(fault=self.record.fault or TOO_LONG, characters=self.record.characters)


class Part(NamedTuple):
    """What other splits must know of a record that does not end, or does not begin, in a split."""

    text: str
    fault: str | None
    separators: int
    characters: int
    closed: bool


def part_of(record: Record, with_text: bool) -> Part:
    """Cut a record down to what other splits must know."""
    text = record.text if with_text and record.fault is None else ""
    return Part(text, record.fault, record.separators, record.characters, record.closed)


@dataclass(frozen=True)
class Summary:
    """A split of a file, read both ways.

    Parameters
    ----------
    rest : its lines up to the end of the record that it begins in, if it begins in one.
    open_from_outside, open_from_inside : the record that is open at its end, if it begins with a record, or in one;
        None where none is. If the one that it begins in does not end, it is not told again.
    """

    rest: Part
    open_from_outside: Part | None
    open_from_inside: Part | None


class Summing:
    """Reads a split both ways."""

    def __init__(self, scanner: Scanner) -> None:
        self._outside, self._inside = Assembler(scanner, False), Assembler(scanner, True)
        self._rest: Part | None = None

    def feed(self, line: Line) -> None:
        """Take the next line."""
        for _ in self._outside.feed(line):
            pass
        for record in self._inside.feed(line):
            if self._rest is None and record.closed:
                self._rest = part_of(record, with_text=True)

    def summary(self) -> Summary:
        """Return what was read."""
        first, second = self._outside, self._inside
        last = part_of(second.record, with_text=self._rest is None)
        return Summary(
            self._rest or last,
            part_of(first.record, with_text=False) if first.inside else None,
            last if second.inside and self._rest is not None else None,
        )


class Borders(NamedTuple):
    """What a split must know of the others.

    Parameters
    ----------
    inside : whether it begins in a record of an earlier split, `inside_fault` : why that one is none.
    rest : lines that follow in later splits to the record that is open at its end, `rest_fault` : why that one is none.
    """

    inside: bool = False
    inside_fault: str | None = None
    rest: str = ""
    rest_fault: str | None = None


def borders_of(splits: list[Summary], fields: int) -> list[Borders]:
    """Put the splits of one file, in their order, together."""
    found = [Borders() for _ in splits]
    record, begun, rest = Record(closed=True), 0, list[str]()  # the record that is open, and where it began
    for number, split in enumerate(splits):
        tail = split.open_from_outside
        if not record.closed:
            record.join(split.rest.fault, split.rest.separators, split.rest.characters)
            record.closed = split.rest.closed
            rest.append(split.rest.text)
            tail = split.open_from_inside
            if record.closed or number == len(splits) - 1:
                verdict = record.verdict(fields, several=True)
                found[begun] = found[begun]._replace(rest="\n".join(rest), rest_fault=verdict)
                for later in range(begun + 1, number + 1):
                    found[later] = found[later]._replace(inside=True, inside_fault=verdict)
        if record.closed and tail is not None:
            record = Record(fault=tail.fault, separators=tail.separators, characters=tail.characters)
            begun, rest = number, []
            if number == len(splits) - 1:
                found[number] = found[number]._replace(rest_fault=record.verdict(fields, several=True))
    return found


class Row(NamedTuple):
    """A line with the record that begins there; `continued` where it belongs to the record of an earlier line."""

    position: int
    text: str
    fault: str | None
    continued: bool


def assembled(lines: Iterable[Line], scanner: Scanner, borders: Borders, fields: int) -> Iterator[Row]:
    """Rows of one split, one for each of its lines."""
    assembler, in_earlier = Assembler(scanner, borders.inside), borders.inside

    def rows_of(record: Record, text: str, fault: str | None) -> Iterator[Row]:
        for number, line in enumerate(record.lines):
            continued = fault is None and (in_earlier or number > 0)
            yield Row(line.position, line.text if fault or continued else text, fault, continued)

    for line in lines:
        for record in assembler.feed(line):
            verdict = borders.inside_fault if in_earlier else record.verdict(fields, len(record.lines) > 1)
            yield from rows_of(record, record.text, verdict)
            in_earlier = in_earlier and not record.closed
    last = assembler.record
    verdict = borders.inside_fault if in_earlier else borders.rest_fault
    yield from rows_of(last, f"{last.text}\n{borders.rest}", verdict)
