"""What text from outside may hold where people see it: nothing that steers a terminal or hides what stands there.

Item texts, answers of language models, tags, file names and messages of servers come from others. Everything that is
printed passes `printable` at one of three doors: `say`, the formatters of the log (`platform.job.log`), and
`cli.terminal`. Ingestion takes the same characters out of item texts. It imports nothing of ours.
"""

from __future__ import annotations

import json
import re
import sys

# Control characters (C0, DEL, C1), separators of lines and paragraphs, soft hyphen, marks, embeddings, overrides and
# isolates of the writing direction, zero-width space and word joiner, invisible operators, byte order mark, marks of
# annotations, shorthand and music, language tags. Left out are format characters that scripts are spelled with: the two
# joiners (U+200C, U+200D, also of emoji) and the visible signs of Arabic, Syriac and Kaithi numbers.
UNSEEN = (
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200B), (0x200E, 0x200F)),
    *((0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE007F),
)
# Of these a blank is made, as they stand between words; the others vanish.
BLANKS = ((0x00, 0x1F), (0x7F, 0x9F), (0x200B, 0x200B), (0x2028, 0x2029))
LINE_BREAKS_AND_TABS = "\t\n\v\f\r\x85\u2028\u2029"


def _class_of(ranges: tuple[tuple[int, int], ...], more: str = "") -> str:
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + more + "]"


_ESCAPED = re.compile(rf"(?![\n\t]){_class_of(UNSEEN, chr(0xD800) + '-' + chr(0xDFFF))}")
_BLANKS, _UNSEEN = re.compile(_class_of(BLANKS)), re.compile(_class_of(UNSEEN))


def printable(text: str) -> str:
    r"""Text that may go to a terminal or a log: each character of `UNSEEN` but tab and line feed, and half of a
    surrogate pair, is written as JSON escapes it (``\u001b``). JSON stays the same JSON.
    """
    return _ESCAPED.sub(lambda match: json.dumps(match.group())[1:-1], text)


def on_one_line(text: str) -> str:
    r"""The same of a value that stands in a line: a line feed is ``\n``, so that no value makes a line of its own."""
    return printable(text).replace("\n", "\\n")


def indented(text: str) -> str:
    """The same of a message, of which every line but the first is indented: none passes for a message of its own."""
    return printable(text).replace("\n", "\n  ")


def plain(text: str) -> str:
    """Text without the characters of `UNSEEN`: a blank for a control character or a break, nothing for the others."""
    return _UNSEEN.sub("", _BLANKS.sub(" ", text))


def say(text: str, to_stderr: bool = False) -> None:
    """Print text and a line feed; on standard error if asked."""
    print(printable(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)
